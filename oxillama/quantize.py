"""What quantised weights of a GGUF file mean: ``dequantize`` gives the exact values of raw blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from oxillama._core.gguf.ggml_types import GGML_TYPES
from oxillama._core.gguf.quantize import block_of, decode_blocks
from oxillama.errors import InvalidRequestError

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["TYPES", "dequantize"]

Bytes: TypeAlias = "Buffer | NDArray[Any]"

_IDS = {row.name: number for number, row in GGML_TYPES.items() if block_of(number)[0]}

TYPES: tuple[str, ...] = tuple(_IDS)
"""Names of the ggml types that weights may have: what `dequantize` decodes and products are computed with."""


def dequantize(type_name: str, raw: Bytes, n: int) -> NDArray[np.float32]:
    """The ``n`` values of a run of blocks, as a new float32 array [n].

    ``type_name`` is a ggml type as files name it, "Q4_K" or "IQ2_XXS" (`TYPES` has all of them). ``raw`` holds the
    blocks as the file has them, one after another: any contiguous buffer or array of n / values-per-block *
    bytes-per-block bytes, such as ``GGUFFile.tensor(name).data``. A tensor's own further scale, which NVFP4 files keep
    in a tensor ``<name>.scale``, is not applied.

    The values are those of ggml's own conversion, and the same bits on every machine and instruction-set level.
    Raises `InvalidRequestError` for a type that has no such blocks (``.param`` is "type_name"), for an ``n`` that is
    no whole number of blocks, and for bytes of another length ("raw").

    >>> import numpy as np
    >>> dequantize("Q8_0", np.float16(0.5).tobytes() + bytes(range(32)), 32)[:4]
    array([0. , 0.5, 1. , 1.5], dtype=float32)
    """
    if type_name not in _IDS:
        raise InvalidRequestError(
            f"type_name: expected one of {', '.join(TYPES)}, found {type_name!r}", param="type_name"
        )
    block, block_bytes = block_of(_IDS[type_name])
    if n < 0 or n % block:
        raise InvalidRequestError(f"n: expected a multiple of {block}, the block of {type_name}, found {n}", param="n")
    try:
        if isinstance(raw, np.ndarray):
            data = np.ascontiguousarray(raw).reshape(-1).view(np.uint8)
        else:
            data = np.frombuffer(memoryview(raw), np.uint8)
    except (BufferError, TypeError, ValueError) as error:
        raise InvalidRequestError(f"raw: expected contiguous bytes, found {type(raw).__name__}", param="raw") from error
    if len(data) != n // block * block_bytes:
        raise InvalidRequestError(
            f"raw: expected {n // block * block_bytes} bytes for {n} values of {type_name}, found {len(data)}",
            param="raw",
        )
    return decode_blocks(_IDS[type_name], data)
