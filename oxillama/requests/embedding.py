"""Embeddings as an app holds them: which inputs there are, and the handle of one that is on its way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

from oxillama.errors import InvalidRequestError
from oxillama.progress import Progress
from oxillama.requests.admission import Prompt
from oxillama.requests.batch import Batch
from oxillama.requests.request import RequestHandle
from oxillama.results.completion import Completion, Timings, Usage
from oxillama.sampling.params import EmbeddingParams

ResultT = TypeVar("ResultT")

# One input or several; each a text or token ids.
Inputs: TypeAlias = Prompt | Sequence[Prompt]


def split_inputs(inputs: Inputs) -> list[Prompt]:
    """A text and a flat sequence of ids are one input; a sequence of texts or of sequences is several.

    Raises InvalidRequestError for anything else. What is wrong with one of several shows when it is submitted."""
    if isinstance(inputs, str):
        return [inputs]
    if isinstance(inputs, np.ndarray) and inputs.ndim in (1, 2):
        return [inputs] if inputs.ndim == 1 else list(inputs)
    if isinstance(inputs, Sequence) and not isinstance(inputs, bytes | bytearray):
        if not inputs or isinstance(inputs[0], str | Sequence | np.ndarray):
            return list(cast("Sequence[Prompt]", inputs))
        return [cast("Prompt", inputs)]
    raise InvalidRequestError(
        f"expected a text, token ids, or a sequence of these, found {type(inputs).__name__}", param="input"
    )


class ReadingHandle(ABC, Generic[ResultT]):
    """A text on its way that is read and not continued. Keeps its engine alive; dropping it cancels the request.
    Threads may share it, and tasks of one event loop."""

    def __init__(self, request: RequestHandle) -> None:
        self._request = request

    @property
    def id(self) -> str:
        return self._request.id

    @property
    def done(self) -> bool:
        return self._request.done

    @property
    def usage(self) -> Usage:
        """Counts of the input's tokens; none are generated."""
        return self._request.usage

    @property
    def timings(self) -> Timings:
        """Where the time of a finished request went; zeros before."""
        return self._request.timings

    def cancel(self) -> None:
        """Ends the request within one step. Waiting callers get RequestCancelled. May be called again."""
        self._request.cancel()

    def enter(self) -> None:
        """Submits the request, waiting for room in the queue as long as it may."""
        self._request.enter()

    async def aenter(self) -> None:
        await self._request.aenter()

    def result(self, timeout: float | None = None) -> ResultT:
        """TimeoutError after `timeout` seconds leaves the request running."""
        return self._made(self._request.result(timeout))

    async def aresult(self) -> ResultT:
        return self._made(await self._request.aresult())

    @abstractmethod
    def _made(self, completion: Completion) -> ResultT:
        """The result of the request, which has ended well."""

    @property
    def _vector(self) -> npt.NDArray[np.float32]:
        return self._request.handles[0].embedding()

    def __repr__(self) -> str:
        state = "done" if self.done else "running"
        return f"<{type(self).__name__} {self.id}: {state}, {self.usage.prompt_tokens} tokens>"


class EmbeddingHandle(ReadingHandle[npt.NDArray[np.float32]]):
    """An embedding on its way: its result is float32 [dimensions], or [n tokens, dimensions] for pooling "none"."""

    def _made(self, completion: Completion) -> npt.NDArray[np.float32]:
        return self._vector


class EmbeddingBatch(Batch[npt.NDArray[np.float32]]):
    """Several inputs that become the rows of one array, or with pooling "none" an array each."""

    def __init__(self, inputs: Inputs, params: EmbeddingParams, *, max_flight: int, progress: Progress) -> None:
        super().__init__(
            split_inputs(inputs), max_flight=max_flight, progress=progress, label="embedding", noun="input"
        )
        self._dimensions = params.dimensions
        self._has_rows_of_tokens = params.pooling == "none"

    def gathered(
        self, rows: list[npt.NDArray[np.float32]], width: int
    ) -> npt.NDArray[np.float32] | list[npt.NDArray[np.float32]]:
        """float32 [n inputs, dimensions] of what a run returned, or for pooling "none" that itself; `width`: values of
        a hidden state."""
        if self._has_rows_of_tokens:
            return rows
        if not rows:
            return np.empty((0, self._dimensions or width), dtype=np.float32)
        return np.stack(rows)
