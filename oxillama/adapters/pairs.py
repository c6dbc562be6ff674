"""An adapter as it was read, whatever its file: pairs of small matrices by the base tensor that they change."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oxillama.errors import AdapterError
from oxillama.gguf.file import described

Floats = npt.NDArray[np.float16] | npt.NDArray[np.float32]

MAX_ALPHA = 1e9  # far more than any adapter was trained with; with far larger ones products leave the range of float32


@dataclass(frozen=True)
class Factor:
    """One of the two matrices: its name in the file, its shape in NumPy's order, and its values, float16 where
    `is_half`, else float32 [shape], made when they are asked for."""

    name: str
    shape: tuple[int, ...]
    is_half: bool
    load: Callable[[], Floats]

    @property
    def shown(self) -> str:
        """The name in the words of a message: a file may give a very long one."""
        return described(self.name)

    @property
    def n_bytes(self) -> int:
        """Of the values."""
        return math.prod(self.shape) * (2 if self.is_half else 4)

    def values(self) -> Floats:
        """Raises AdapterError for values that are no numbers: they would spoil every request."""
        found = self.load().reshape(self.shape)
        if not np.isfinite(found).all():
            raise AdapterError(f"tensor {self.shown} has values that are not finite", param="path")
        return found


@dataclass(frozen=True)
class Pair:
    """`y = W x + gain * B (A x)` for the base tensor of that name.

    a: [rank, inputs], b: [outputs, rank], both with a leading dimension where the tensor is a stack. For a table of
    embeddings a is [rows of the table, rank] and b [width, rank]."""

    tensor: str
    a: Factor
    b: Factor
    rank: int
    gain: float


@dataclass(frozen=True)
class LowRankAdapter:
    """All pairs of an adapter, and what its file says of it. architecture: of the base model, None where the file does
    not say; prompt_prefix: what the adapter's texts begin with."""

    path: str
    architecture: str | None
    pairs: Mapping[str, Pair]
    task_name: str = ""
    prompt_prefix: str = ""

    @property
    def rank(self) -> int:
        """The largest."""
        return max(pair.rank for pair in self.pairs.values())

    @property
    def n_bytes(self) -> int:
        """Of all values, once they are made."""
        return sum(pair.a.n_bytes + pair.b.n_bytes for pair in self.pairs.values())

    def values(self) -> dict[str, tuple[Floats, Floats]]:
        """A and B of each pair. Raises AdapterError."""
        return {tensor: (pair.a.values(), pair.b.values()) for tensor, pair in self.pairs.items()}


def digest_of(pairs: Mapping[str, Pair], values: Mapping[str, tuple[Floats, Floats]]) -> bytes:
    """Tells adapters apart by what they add, not by their names. values: A and B of each pair."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(pairs):
        digest.update(struct.pack("<Id", len(name.encode()), pairs[name].gain) + name.encode())
        for array in values[name]:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1).data)
    return digest.digest()


def gain_of(alpha: object, rank: int, where: str) -> float:
    """alpha / rank; without an alpha, or with 0, 1."""
    if alpha is None:
        return 1.0
    return checked_alpha(alpha, where) / rank if alpha else 1.0


def checked_alpha(alpha: object, where: str) -> float:
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) < MAX_ALPHA:
        message = f"{where} is {described(alpha)}, expected a finite number below {MAX_ALPHA:g}"
        raise AdapterError(message, param="path")
    return float(alpha)
