"""The engine's sampler on its own: from logits to a distribution, or to a token."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oxillama._core.sampling.parameters import CompiledSampling
from oxillama._core.sampling.sampler import SamplerMemory
from oxillama.errors import InvalidRequestError
from oxillama.sampling.params import SamplingParams
from oxillama.sampling.sequence_breakers import TextVocabulary
from oxillama.structured.masks import packed
from oxillama.structured.session import GrammarSession

Tokens: TypeAlias = Sequence[int] | NDArray[np.integer]
History: TypeAlias = Tokens | tuple[Tokens, Tokens]
Mask: TypeAlias = GrammarSession | Tokens | NDArray[np.bool_]

# Sums of sampling weights are exact up to here; OX_ROW_MAX_VOCAB of the core.
MAX_VOCAB = 2**19


class Sampler:
    """The compiled sampling chain that the engine uses, for one set of parameters.

    ``probs`` and ``sample`` are pure functions of their arguments and the seed: calling one never changes what the
    next returns. (Mirostat is the exception, it carries a running target from token to token; see ``session``.)
    ``tokenizer`` is needed for texts in ``logit_bias`` and ``dry_sequence_breakers``, ``eog_tokens`` for
    ``min_tokens`` and ``ignore_eos``. One sampler may be shared by threads. It can be copied, and pickled together with
    its seed and its tokenizer: the copy draws the same.

    >>> sampler = Sampler(SamplingParams(top_k=2, seed=1))
    >>> sampler.probs([0.0, 1.0, 1.0])
    array([0. , 0.5, 0.5], dtype=float32)
    """

    def __init__(
        self,
        params: SamplingParams,
        *,
        tokenizer: TextVocabulary | None = None,
        eog_tokens: Iterable[int] = (),
    ) -> None:
        if not isinstance(params, SamplingParams):
            raise TypeError(f"expected SamplingParams, found {type(params).__name__}")
        self.params: SamplingParams = params.with_seed()
        self._tokenizer = tokenizer
        self._eog_tokens = tuple(eog_tokens)
        self._lock = threading.Lock()
        self._compiled: CompiledSampling | None = None
        self._memory: SamplerMemory | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # What is compiled, and the memory for it, are made where they are needed.
        return _restored, (type(self), self.params, self._tokenizer, self._eog_tokens)

    def __repr__(self) -> str:
        return f"Sampler({self.params!r})"

    @property
    def seed(self) -> int:
        """The seed of every draw: that of the parameters, or the one drawn when the sampler was made."""
        return self.params.seed or 0

    def probs(
        self, logits: ArrayLike, history: History = (), position: int = 0, *, mask: Mask | None = None
    ) -> NDArray[np.float32]:
        """Return the distribution that ``sample`` draws from for choice 0: float32 [n_vocab], sum 1.

        ``logits`` is [n_vocab], finite. ``history`` is ``(prompt, output)`` or the output alone, as token ids;
        ``position`` counts the tokens generated before this one. The position matters to ``min_tokens`` and to the
        coin that XTC tosses. ``mask`` is what a grammar allows here: the session of one, bool [n_vocab], or the ids.
        Raises NumericalError for NaN or infinity, InvalidRequestError for anything else.
        """
        self._refuse_mirostat()
        return self._probs(logits, history, position, 0, None, mask)

    def sample(
        self,
        logits: ArrayLike,
        history: History = (),
        position: int = 0,
        choice: int = 0,
        *,
        mask: Mask | None = None,
    ) -> int:
        """Return the token that the engine would generate here; arguments and errors are those of ``probs``.

        A session is not moved on: that is ``session.accept(token)``."""
        self._refuse_mirostat()
        return self._sample(logits, history, position, choice, None, mask)[0]

    def session(self, *, choice: int = 0) -> SamplerSession:
        """Return the state of one sequence, which mirostat needs; without mirostat the state is empty."""
        return SamplerSession(self, choice=choice)

    def _refuse_mirostat(self) -> None:
        if self._carries_state():
            raise InvalidRequestError("mirostat carries state from token to token; use session()", param="mirostat")

    def _carries_state(self) -> bool:
        return self.params.mirostat != 0 and self.params.temperature != 0

    def _probs(
        self,
        logits: ArrayLike,
        history: History,
        position: int,
        choice: int,
        mu: float | None,
        mask: Mask | None = None,
    ) -> NDArray[np.float32]:
        row = _row(logits)
        words = None if mask is None else self._words(mask, row.size)
        prompt, output = _split(history, row.size)
        out = np.empty(row.size, dtype=np.float32)
        with self._lock:
            compiled, memory = self._prepare(row.size, prompt.size + output.size)
            memory.probs(
                compiled, row, prompt, output, out, mu=mu, mask=words,
                position=_counter("position", position), choice=_counter("choice", choice),
            )  # fmt: skip
        return out

    def _sample(
        self,
        logits: ArrayLike,
        history: History,
        position: int,
        choice: int,
        mu: float | None,
        mask: Mask | None = None,
    ) -> tuple[int, float | None]:
        row = _row(logits)
        words = None if mask is None else self._words(mask, row.size)
        prompt, output = _split(history, row.size)
        with self._lock:
            compiled, memory = self._prepare(row.size, prompt.size + output.size)
            token, _, _, mu = memory.sample(
                compiled, row, prompt, output, mu=mu, mask=words,
                position=_counter("position", position), choice=_counter("choice", choice),
            )  # fmt: skip
        return token, mu

    def _words(self, mask: Mask, n_vocab: int) -> NDArray[np.uint32]:
        if isinstance(mask, GrammarSession):
            return mask.words(self._tokenizer, n_vocab)
        return packed(mask, n_vocab)

    def _prepare(self, n_vocab: int, n_history: int) -> tuple[CompiledSampling, SamplerMemory]:
        if self._compiled is None or self._memory is None or self._memory.n_vocab != n_vocab:
            self._compiled = self.params.resolve(
                n_vocab=n_vocab, tokenizer=self._tokenizer, eog_tokens=self._eog_tokens
            )
            self._memory = SamplerMemory(n_vocab, n_history)
        elif self._memory.n_history < n_history:
            self._memory = SamplerMemory(n_vocab, 2 * n_history)
        return self._compiled, self._memory


class SamplerSession:
    """One sequence in the making: a sampler and the state that mirostat carries from token to token."""

    def __init__(self, sampler: Sampler, *, choice: int = 0) -> None:
        self._sampler = sampler
        self._choice = _counter("choice", choice)
        self._mu = 2 * sampler.params.mirostat_tau if sampler._carries_state() else None

    @property
    def mu(self) -> float | None:
        """Mirostat's running target in bits, the whole state; None without mirostat. May be set, to resume."""
        return self._mu

    @mu.setter
    def mu(self, value: float) -> None:
        if self._mu is None:
            raise InvalidRequestError("without mirostat there is no state to set", param="mirostat")
        if not math.isfinite(value):
            raise InvalidRequestError(f"mu must be finite, found {value!r}", param="mu")
        self._mu = float(value)

    def probs(
        self, logits: ArrayLike, history: History = (), position: int = 0, *, mask: Mask | None = None
    ) -> NDArray[np.float32]:
        """Return the distribution of the next ``sample`` with these arguments; leaves the state alone."""
        return self._sampler._probs(logits, history, position, self._choice, self._mu, mask)

    def sample(self, logits: ArrayLike, history: History = (), position: int = 0, *, mask: Mask | None = None) -> int:
        """Return a token and advance the state."""
        token, self._mu = self._sampler._sample(logits, history, position, self._choice, self._mu, mask)
        return token


def _restored(
    kind: type[Sampler], params: SamplingParams, tokenizer: TextVocabulary | None, eog_tokens: tuple[int, ...]
) -> Sampler:
    return kind(params, tokenizer=tokenizer, eog_tokens=eog_tokens)


def _row(logits: ArrayLike) -> NDArray[np.float32]:
    array = np.asarray(logits)
    if array.dtype.kind not in "fiu":
        raise InvalidRequestError(f"logits must be real numbers, found dtype {array.dtype}", param="logits")
    if array.ndim != 1 or not 1 <= array.size <= MAX_VOCAB:
        raise InvalidRequestError(
            f"logits must be one row of 1 to {MAX_VOCAB} values, found shape {array.shape}", param="logits"
        )
    with np.errstate(over="ignore"):
        return np.require(array, dtype=np.float32, requirements=["C", "A"])


def _split(history: History, n_vocab: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    if isinstance(history, tuple) and len(history) == 2 and all(hasattr(part, "__len__") for part in history):
        prompt, output = history
        return _ids(prompt, n_vocab), _ids(output, n_vocab)
    return _ids((), n_vocab), _ids(history, n_vocab)


def _ids(tokens: object, n_vocab: int) -> NDArray[np.int32]:
    array = np.asarray(tokens)
    if array.size == 0:
        return np.empty(0, dtype=np.int32)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InvalidRequestError(
            f"history must be token ids, (prompt, output) or output alone, found dtype {array.dtype}", param="history"
        )
    if array.min() < 0 or array.max() >= n_vocab:
        raise InvalidRequestError(f"history has a token outside the vocabulary of {n_vocab}", param="history")
    return np.require(array, dtype=np.int32, requirements=["C", "A"])


def _counter(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < 2**32:
        raise InvalidRequestError(f"{name} must be an integer from 0 to 2**32 - 1, found {value!r}", param=name)
    return int(value)
