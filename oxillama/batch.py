"""Many prompts on their way through an engine, in order, with a limit to how many are in flight at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar

from oxillama.admission import Prompt
from oxillama.errors import InvalidRequestError
from oxillama.progress import Progress, reporting


class Cancellable(Protocol):
    """A request in flight, as far as a batch knows it."""

    def cancel(self) -> None: ...


HandleT = TypeVar("HandleT", bound=Cancellable)
ResultT = TypeVar("ResultT")


class Batch(Generic[HandleT, ResultT]):
    """Prompts to come, requests in flight, and results, in the order of the prompts.

    Submitting and waiting are the caller's, who does both either synchronously or not."""

    def __init__(self, prompts: Iterable[Prompt], *, max_flight: int) -> None:
        if isinstance(prompts, str | bytes):
            raise InvalidRequestError(f"prompts is one {type(prompts).__name__}, expected several", param="prompts")
        self._pending = deque(prompts)
        self._total = len(self._pending)
        self._flight: deque[HandleT] = deque()
        self._max_flight = max_flight
        self.results: list[ResultT] = []

    @property
    def done(self) -> bool:
        return not self._pending and not self._flight

    @property
    def has_room(self) -> bool:
        """Is there another prompt, and may it be submitted?"""
        return bool(self._pending) and len(self._flight) < self._max_flight

    def next_prompt(self) -> Prompt:
        return self._pending.popleft()

    def add(self, handle: HandleT) -> None:
        self._flight.append(handle)

    @property
    def oldest(self) -> HandleT:
        """The one to wait for: the worker serves in order, so it is the most likely to be done."""
        return self._flight[0]

    def store(self, result: ResultT) -> None:
        self._flight.popleft()
        self.results.append(result)

    @contextmanager
    def running(self, progress: Progress, *, label: str) -> Iterator[Callable[[int], None]]:
        """Yields `advance(n)` for finished prompts; cancels what is in flight when the body fails."""
        with reporting(progress, total=self._total, label=label, unit="prompt") as advance:
            try:
                yield advance
            except BaseException:
                for handle in self._flight:
                    handle.cancel()
                raise
