"""An adapter as it was read, whatever its file: pairs of small matrices by the base tensor that they change."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from oxillama.errors import AdapterError

Floats = npt.NDArray[np.float16] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Factor:
    """One of the two matrices: its name in the file, its shape in NumPy's order, and its values, float16 or float32
    [shape], made when they are asked for."""

    name: str
    shape: tuple[int, ...]
    load: Callable[[], Floats]

    def values(self) -> Floats:
        """Raises AdapterError for values that are no numbers: they would spoil every request."""
        found = self.load().reshape(self.shape)
        if not np.isfinite(found).all():
            raise AdapterError(f"tensor {self.name!r} has values that are not finite", param="path")
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
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not np.isfinite(alpha):
        raise AdapterError(f"{where} is {described_alpha(alpha)}, expected a finite number", param="path")
    return float(alpha) / rank if alpha else 1.0


def described_alpha(value: Any) -> str:
    return repr(value) if isinstance(value, bool | int | float) else f"a {type(value).__name__}"
