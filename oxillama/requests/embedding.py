"""Embeddings as an app asks for them: which inputs there are, and what becomes of one that is on its way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Never, NoReturn, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

from oxillama.errors import InvalidRequestError
from oxillama.progress import Progress
from oxillama.requests.admission import Prompt
from oxillama.requests.batch import Batch
from oxillama.requests.completion_builder import CompletionBuilder
from oxillama.requests.request import RequestHandle
from oxillama.requests.result_builder import ResultBuilder
from oxillama.results.completion import Completion
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


class ReadingBuilder(ResultBuilder[ResultT, Never]):
    """A text that is read and not continued: there are no chunks of it."""

    @property
    def prompt_logprobs(self) -> None:
        return None

    def take(self, most: int | None = None) -> list[Never]:
        return []

    def stream(self, handle: RequestHandle[ResultT, Never]) -> NoReturn:
        raise TypeError("a text that is read and not continued has no chunks; ask for its result()")

    def partial(self) -> Completion:
        """Nothing but the counts."""
        return CompletionBuilder(self.delivery).partial()


class VectorBuilder(ReadingBuilder[npt.NDArray[np.float32]]):
    """The embedding of a text."""

    def result(self) -> npt.NDArray[np.float32]:
        return self.delivery.handles[0].embedding()


class EmbeddingHandle(RequestHandle[npt.NDArray[np.float32], Never]):
    """An embedding on its way: its result is float32 [dimensions], or [n tokens, dimensions] for pooling "none"."""


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
