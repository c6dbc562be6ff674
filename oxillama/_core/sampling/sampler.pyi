"""From one row of logits to one token: the order of the stages, the draw, and logprobs."""

import numpy as np
from numpy.typing import NDArray

from oxillama._core.sampling.parameters import CompiledSampling

class SamplerMemory:
    """The working memory of one sampling thread, and the chain for Python callers. Not safe for concurrent use.

    ``n_history`` is the longest prompt + output that DRY may look at, ``level`` the instruction-set level of the
    kernels, if not the active one. Raises MemoryError, and ValueError for a level that is not usable.
    """

    def __init__(self, n_vocab: int, n_history: int, *, level: str | None = None) -> None: ...
    @property
    def n_vocab(self) -> int: ...
    @property
    def n_history(self) -> int: ...
    def sample(
        self,
        sampling: CompiledSampling,
        logits: NDArray[np.float32],
        prompt: NDArray[np.int32],
        output: NDArray[np.int32],
        *,
        choice: int,
        position: int,
        mask: NDArray[np.uint32] | None = None,
        mu: float | None = None,
    ) -> tuple[int, float, list[tuple[int, float]], float | None]:
        """Draw a token from ``logits`` [n_vocab]: (token, its logprob, [(alternative, logprob)], mirostat's next mu).

        ``mask`` is [n_vocab / 32, rounded up], bit i of word w allows token 32 * w + i. The logprob is NaN and there
        are no alternatives where the parameters ask for none. Raises NumericalError for logits that are not finite,
        InvalidRequestError where no token is left or mirostat has no ``mu``, ValueError for a length that does not
        fit this memory.
        """

    def probs(
        self,
        sampling: CompiledSampling,
        logits: NDArray[np.float32],
        prompt: NDArray[np.int32],
        output: NDArray[np.int32],
        out: NDArray[np.float32],
        *,
        choice: int,
        position: int,
        mask: NDArray[np.uint32] | None = None,
        mu: float | None = None,
    ) -> None:
        """Write the distribution that ``sample`` draws from to ``out`` [n_vocab]; arguments and errors are the same."""
