"""Runs the weight and product kernels of any usable level on NumPy arrays, for tests and benchmarks."""

import numpy as np
from numpy.typing import NDArray

from oxillama._core.network.team import Team

def dequantize(type: int, k: int, raw: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The values of ``raw`` [rows, bytes of a row] as the format of the ggml type defines them: [rows, k]."""

ACT_BLOCK: np.dtype[np.void]

class Matrix:
    """A weight matrix packed by ``level`` from the file's own rows ``raw`` [rows, bytes of a row].

    Memory of 2 MiB and more asks for huge pages. ``scale`` multiplies the products, before the bias is added.
    ``decoded`` packs block by block, whatever the type. Raises ValueError for a type, shape or level that does not fit.
    """

    def __init__(
        self,
        level: str,
        type: int,
        k: int,
        raw: NDArray[np.uint8],
        bias: NDArray[np.float32] | None = None,
        *,
        scale: float = 1.0,
        decoded: bool = False,
    ) -> None: ...
    @property
    def nbytes(self) -> int:
        """Bytes of the packed matrix."""
    @property
    def packed(self) -> NDArray[np.uint8]:
        """A copy of them."""
    def unpack_row(self, row: int) -> NDArray[np.float32]:
        """The values of one row [k], read back from the packed form."""
    def multiply(
        self, x: Activations, out: NDArray[np.float32], *, accumulate: bool = False, team: Team | None = None
    ) -> None:
        """Writes, or adds, the products to ``out`` [n, rows]; row groups are divided statically between threads."""

class Activations:
    """Rows of float32 activations [n, k] with their int8 forms, made by ``level`` (`reference` leaves it unwritten).

    Rows may lie apart, the values of a row may not.
    """

    n: int
    values: NDArray[np.float32]
    rounded: NDArray[np.uint16]
    """bfloat16 bits [blocks of 256, n, 256], where the level has a use for them."""

    def __init__(self, level: str, values: NDArray[np.float32]) -> None: ...
    def quantize(self) -> None:
        """Quantises every row again."""
    @property
    def quants(self) -> NDArray[np.int8]:
        """[n, k rounded up to 256], a copy like the other arrays."""
    @property
    def scales(self) -> NDArray[np.float32]:
        """[n, blocks of 256]"""
    @property
    def neg_sums16(self) -> NDArray[np.int32]:
        """[n, blocks of 16]"""
    @property
    def neg_sums32(self) -> NDArray[np.int32]:
        """[n, blocks of 32]"""
    @property
    def sums32(self) -> NDArray[np.int16]:
        """[n, blocks of 32]"""
    @property
    def quants_by_32(self) -> NDArray[np.int8]:
        """Those with a scale per 32: [n, k rounded up to 256]"""
    @property
    def scales_by_32(self) -> NDArray[np.float32]:
        """[n, blocks of 32]"""
    @property
    def scaled_sums_by_32(self) -> NDArray[np.float32]:
        """Scale times the sum of the quants: [n, blocks of 32]"""

def activation_form(level: str, type: int) -> str:
    """What products with this ggml type read: ``float32``, ``int8``, ``int8 by 32`` or ``bfloat16``."""

def oracle(level: str, type: int, raw: NDArray[np.uint8], x: Activations) -> NDArray[np.float32]:
    """The products [n, rows] by the scalar oracle, rounded as ``level`` rounds."""
