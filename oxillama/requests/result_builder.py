"""What each kind of request makes of what the core delivers: its chunks, if it has any, and its result."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from oxillama.requests.delivery import Delivery
from oxillama.results.completion import Usage

if TYPE_CHECKING:
    from oxillama.requests.request import RequestHandle
    from oxillama.requests.stream import ResultStream
    from oxillama.results.chat import ChatCompletion
    from oxillama.results.completion import Completion, Logprobs

ResultT = TypeVar("ResultT")
Chunk = TypeVar("Chunk")


class ResultBuilder(ABC, Generic[ResultT, Chunk]):
    """A kind of request: completion, chat, embedding, score or evaluation. Never waits; any thread may ask."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery

    @property
    def id(self) -> str:
        return self.delivery.spec.id

    @property
    def exhausted(self) -> bool:
        """Everything has been taken."""
        return self.delivery.exhausted

    @property
    def usage(self) -> Usage:
        """Counts so far."""
        return self.delivery.usage

    @property
    @abstractmethod
    def prompt_logprobs(self) -> Logprobs | None:
        """The scores of the prompt, where they were asked for and there is output already or the end; else None."""

    @abstractmethod
    def take(self, most: int | None = None) -> list[Chunk]:
        """The chunks that have come since the last call, of at most so many tokens."""

    @abstractmethod
    def stream(self, handle: RequestHandle[ResultT, Chunk]) -> ResultStream[ResultT, Chunk]:
        """The chunks of a request of this kind as an iterator."""

    @abstractmethod
    def result(self) -> ResultT:
        """The whole, once the request has ended well."""

    @abstractmethod
    def partial(self) -> Completion | ChatCompletion:
        """What there was, for the error of a request that did not end well."""
