"""The Q8_0 format in NumPy: 32 int8 values under one half-precision scale, the largest of them at 127."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK_SIZE = 32
BLOCK_BYTES = 34


def quantise(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pack values [rows, columns] as uint8 [rows, columns / 32 * 34]; raises ValueError where columns do not fit."""
    rows, columns = values.shape
    if columns % BLOCK_SIZE:
        raise ValueError(f"Q8_0 needs rows of a multiple of {BLOCK_SIZE} values, found {columns}")
    blocks = values.reshape(-1, BLOCK_SIZE)
    exact_scales = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(np.float32(1), exact_scales, out=np.zeros_like(exact_scales), where=exact_scales > 0)
    codes = np.rint(blocks * inverse).astype(np.int8)
    scales = exact_scales.astype(np.float16)
    packed = np.hstack((scales.view(np.uint8), codes.view(np.uint8)))
    return packed.reshape(rows, columns // BLOCK_SIZE * BLOCK_BYTES)


def dequantise(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The values of uint8 [rows, blocks * 34] as float32 [rows, blocks * 32]."""
    blocks = np.ascontiguousarray(packed).reshape(-1, BLOCK_BYTES)
    scales = np.ascontiguousarray(blocks[:, :2]).view(np.float16).astype(np.float32)
    values = np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.float32) * scales
    return values.reshape(packed.shape[0], -1)
