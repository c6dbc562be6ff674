from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from oxillama._core.constraint import Constraint
from oxillama._core.network.adapter import AdapterSet
from oxillama._core.output.text_stream import TextStream
from oxillama._core.sampling.parameters import CompiledSampling
from oxillama._core.scheduling.mailbox import Mailbox
from oxillama._core.scheduling.waiter import Waiter
from oxillama._core.scheduling.worker import Worker

FINISH_REASONS: dict[int, str]
FAULTS: dict[int, str]
POOLINGS: dict[str, int]
ACCEPTED: int
QUEUE_FULL: int
CLOSED: int

class TokenEvent(NamedTuple):
    token: int
    text: str
    logprob: float
    top: tuple[tuple[int, float], ...]

class Handle:
    worker: Worker
    def __init__(
        self,
        worker: Worker,
        prompt: npt.NDArray[np.int32],
        *,
        max_output: int = 0,
        sampling: CompiledSampling | None = None,
        stream: TextStream | None = None,
        n_logprobs: int = -1,
        min_tokens: int = 0,
        speculates: bool = False,
        choice: int = 0,
        priority: int = 0,
        deadline: float | None = None,
        cache_prompt: bool = True,
        salt: bytes = b"",
        adapters: AdapterSet | None = None,
        n_prompt_logprobs: int = -1,
        first_prompt_logprob: int = 0,
        keep_logits: bool = False,
        pooling: str | None = None,
        dimensions: int = 0,
        normalize: bool = True,
        second_start: int = -1,
        constraint: Constraint | None = None,
        prediction: npt.NDArray[np.int32] | None = None,
    ) -> None: ...
    def cancel(self) -> None: ...
    @property
    def id(self) -> int: ...
    @property
    def fits(self) -> bool: ...
    @property
    def num_published(self) -> int: ...
    @property
    def num_prompt_tokens(self) -> int: ...
    @property
    def num_cached_tokens(self) -> int: ...
    @property
    def num_accepted_drafts(self) -> int: ...
    @property
    def num_rejected_drafts(self) -> int: ...
    @property
    def num_preemptions(self) -> int: ...
    @property
    def finish_reason(self) -> str | None: ...
    @property
    def fault(self) -> str: ...
    @property
    def stop(self) -> int | tuple[str, int] | None: ...
    @property
    def times(self) -> tuple[float, float, float, float, float]: ...
    def wait(self, timeout: float) -> None: ...
    def attach(self, mailbox: Mailbox) -> None: ...
    def has_update(self) -> bool: ...
    def take(self) -> tuple[list[TokenEvent], str, bool]: ...
    def embedding(self) -> npt.NDArray[np.float32]: ...
    def logits(self) -> npt.NDArray[np.float32]: ...
    @property
    def has_prompt_logprobs(self) -> bool: ...
    def prompt_logprobs(self) -> npt.NDArray[np.float32]: ...
    def prompt_events(self) -> list[TokenEvent]: ...

def submit(worker: Worker, handles: list[Handle], waiter: Waiter | None = None) -> int: ...
