"""Which tokens are allowed, as one bit for each: bit id % 32 of word id / 32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oxillama.errors import InvalidRequestError


def packed(allowed: Sequence[int] | NDArray[np.integer] | NDArray[np.bool_], n_vocab: int) -> NDArray[np.uint32]:
    """The words of bool [n_vocab], or of the ids that are allowed. Raises InvalidRequestError for other shapes."""
    given = np.asarray(allowed)
    if given.dtype == np.bool_:
        if given.shape != (n_vocab,):
            raise InvalidRequestError(
                f"mask must be one row of {n_vocab} values, found shape {given.shape}", param="mask"
            )
        row = given
    else:
        if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
            raise InvalidRequestError(f"mask must be token ids or bool, found dtype {given.dtype}", param="mask")
        if given.size and (given.min() < 0 or given.max() >= n_vocab):
            raise InvalidRequestError(f"mask has a token outside the vocabulary of {n_vocab}", param="mask")
        row = np.zeros(n_vocab, dtype=np.bool_)
        row[given.astype(np.int64)] = True
    bits = np.zeros((n_vocab + 31) // 32 * 32, dtype=np.bool_)
    bits[:n_vocab] = row
    return np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32, copy=False)


def ids_of(words: NDArray[np.uint32]) -> list[int]:
    """The ids that are allowed, ascending."""
    bits = np.unpackbits(words.astype("<u4", copy=False).view(np.uint8), bitorder="little")
    return [int(token) for token in np.flatnonzero(bits)]
