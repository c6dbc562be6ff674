"""Random weights in GGUF's packed formats: random code words under scales that give a chosen standard deviation.

Every code word of a format occurs, zero is the mean, and no value is infinite. Formats: ggml-common.h of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Generator = np.random.Generator


@dataclass(frozen=True)
class BlockFormat:
    """`fill(rng, num_blocks, deviation)` makes uint8 [num_blocks, block_bytes], `block_size` weights in each row."""

    type_id: int
    block_size: int
    block_bytes: int
    fill: Callable[[Generator, int, float], Bytes]


def _codes(rng: Generator, num_blocks: int, num_bytes: int) -> Bytes:
    return np.frombuffer(rng.bytes(num_blocks * num_bytes), np.uint8).reshape(num_blocks, num_bytes)


def _scales(rng: Generator, num_blocks: int, scale: float, *, signed: bool) -> NDArray[np.float16]:
    """Half-precision scales [num_blocks, 1] between 0.5 and 1.5 times `scale`, with root mean square 1.04 times it.

    A random sign cancels the mean of code words that are not symmetric around zero.
    """
    scales = scale * rng.uniform(0.5, 1.5, (num_blocks, 1))
    if signed:
        scales *= rng.choice((-1.0, 1.0), (num_blocks, 1))
    return scales.astype(np.float16)


def _f32(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    return (rng.standard_normal((num_blocks, 1), np.float32) * np.float32(deviation)).view(np.uint8)


def _f16(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    values = rng.standard_normal((num_blocks, 1), np.float32) * np.float32(deviation)
    return values.astype(np.float16).view(np.uint8)


def _bf16(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    values = rng.standard_normal((num_blocks, 1), np.float32) * np.float32(deviation)
    return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)


def _q8_0(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    scales = _scales(rng, num_blocks, deviation / 73.9, signed=True)
    return np.hstack((scales.view(np.uint8), _codes(rng, num_blocks, 32)))


def _q4_0(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    scales = _scales(rng, num_blocks, deviation / 4.64, signed=True)
    return np.hstack((scales.view(np.uint8), _codes(rng, num_blocks, 16)))


def _q4_k(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    # weight = d * s * q - dmin * m with s, m in 0..63 and q in 0..15: dmin = 7.5 d makes the mean zero and the
    # standard deviation 258 d.
    scales = _scales(rng, num_blocks, deviation / 258, signed=False)
    minima = (scales.astype(np.float32) * 7.5).astype(np.float16)
    return np.hstack((scales.view(np.uint8), minima.view(np.uint8), _codes(rng, num_blocks, 12 + 128)))


def _q5_k(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    # As Q4_K with q in 0..31: dmin = 15.5 d, and the standard deviation is 526 d.
    scales = _scales(rng, num_blocks, deviation / 526, signed=False)
    minima = (scales.astype(np.float32) * 15.5).astype(np.float16)
    return np.hstack((scales.view(np.uint8), minima.view(np.uint8), _codes(rng, num_blocks, 12 + 32 + 128)))


def _q2_k(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    # weight = d * s * q - dmin * m with s, m in 0..15 and q in 0..3: dmin = 1.5 d, a standard deviation of 13.9 d.
    scales = _scales(rng, num_blocks, deviation / 13.9, signed=False)
    minima = (scales.astype(np.float32) * 1.5).astype(np.float16)
    return np.hstack((_codes(rng, num_blocks, 16 + 64), scales.view(np.uint8), minima.view(np.uint8)))


def _q3_k(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    # weight = d * (s - 32) * (q - 4) with s in 0..63 and q in 0..7: a standard deviation of 43.3 d.
    scales = _scales(rng, num_blocks, deviation / 43.3, signed=True)
    return np.hstack((_codes(rng, num_blocks, 32 + 64 + 12), scales.view(np.uint8)))


def _iq4_nl(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    # The sixteen values of the codebook have a root mean square of 67.4.
    scales = _scales(rng, num_blocks, deviation / 70.2, signed=True)
    return np.hstack((scales.view(np.uint8), _codes(rng, num_blocks, 16)))


def _iq4_xs(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    # weight = d * (s - 32) * value with s in 0..63: a standard deviation of 1247 d.
    scales = _scales(rng, num_blocks, deviation / 1247, signed=True)
    return np.hstack((scales.view(np.uint8), _codes(rng, num_blocks, 2 + 4 + 128)))


def _q6_k(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    # weight = d * s * (q - 32) with s an int8 and q in 0..63: a standard deviation of 1366 d.
    scales = _scales(rng, num_blocks, deviation / 1366, signed=True)
    return np.hstack((_codes(rng, num_blocks, 128 + 64 + 16), scales.view(np.uint8)))


def _scaled(code_bytes: int, factor: float, *, scale_last: bool = False) -> Callable[[Generator, int, float], Bytes]:
    """Blocks of a float16 scale beside random code words, `factor` times which is the standard deviation."""

    def fill(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
        scales = _scales(rng, num_blocks, deviation / factor, signed=True).view(np.uint8)
        codes = _codes(rng, num_blocks, code_bytes)
        return np.hstack((codes, scales) if scale_last else (scales, codes))

    return fill


def _iq1_m(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    # The scale lies in the top nibbles of the last four words, the lowest first.
    scales = _scales(rng, num_blocks, deviation / 7.5, signed=True).view(np.uint8)
    blocks = _codes(rng, num_blocks, 56).copy()
    nibbles = (scales[:, 0] & 15, scales[:, 0] >> 4, scales[:, 1] & 15, scales[:, 1] >> 4)
    for word, nibble in enumerate(nibbles):
        blocks[:, 49 + 2 * word] = blocks[:, 49 + 2 * word] & 15 | nibble << 4
    return blocks


def _neighbours(rng: Generator, shape: tuple[int, ...], values: NDArray[np.floating], scale: float) -> Bytes:
    """Indices of the two ascending `values` around `scale`, in shares that give their mean square."""
    low = int(np.clip(np.searchsorted(values, scale, "right") - 1, 0, len(values) - 2))
    squares = values[low : low + 2] ** 2
    share = (scale**2 - squares[0]) / (squares[1] - squares[0])
    return np.asarray(low + (rng.random(shape) < share), np.uint8)


# The sixteen values of both four-bit float formats have a root mean square of 5.85.
def _mxfp4(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    exponents = _neighbours(rng, (num_blocks, 1), 2.0 ** np.arange(-128, 127), deviation / 5.85)
    return np.hstack((exponents, _codes(rng, num_blocks, 16)))


def _nvfp4(rng: Generator, num_blocks: int, deviation: float) -> Bytes:
    byte = np.arange(127)
    exponent, mantissa = byte >> 3, byte & 7
    values = np.where(exponent == 0, mantissa / 512, (1 + mantissa / 8) * 2.0 ** (exponent - 7)) / 2
    return np.hstack((_neighbours(rng, (num_blocks, 4), values, deviation / 5.85), _codes(rng, num_blocks, 32)))


FORMATS = {
    "F32": BlockFormat(0, 1, 4, _f32),
    "F16": BlockFormat(1, 1, 2, _f16),
    "BF16": BlockFormat(30, 1, 2, _bf16),
    "Q4_0": BlockFormat(2, 32, 18, _q4_0),
    "Q8_0": BlockFormat(8, 32, 34, _q8_0),
    "Q2_K": BlockFormat(10, 256, 84, _q2_k),
    "Q3_K": BlockFormat(11, 256, 110, _q3_k),
    "Q4_K": BlockFormat(12, 256, 144, _q4_k),
    "Q5_K": BlockFormat(13, 256, 176, _q5_k),
    "Q6_K": BlockFormat(14, 256, 210, _q6_k),
    "IQ4_NL": BlockFormat(20, 32, 18, _iq4_nl),
    "IQ4_XS": BlockFormat(23, 256, 136, _iq4_xs),
    "IQ1_S": BlockFormat(19, 256, 50, _scaled(48, 7.5)),
    "IQ1_M": BlockFormat(29, 256, 56, _iq1_m),
    "IQ2_XXS": BlockFormat(16, 256, 66, _scaled(64, 55.4)),
    "IQ2_XS": BlockFormat(17, 256, 74, _scaled(72, 58.0)),
    "IQ2_S": BlockFormat(22, 256, 82, _scaled(80, 58.6)),
    "IQ3_XXS": BlockFormat(18, 256, 98, _scaled(96, 148.1)),
    "IQ3_S": BlockFormat(21, 256, 110, _scaled(108, 146.0)),
    "TQ1_0": BlockFormat(34, 256, 54, _scaled(52, 0.85, scale_last=True)),
    "TQ2_0": BlockFormat(35, 256, 66, _scaled(64, 1.273, scale_last=True)),
    "MXFP4": BlockFormat(39, 32, 17, _mxfp4),
    "NVFP4": BlockFormat(40, 64, 36, _nvfp4),
    "Q1_0": BlockFormat(41, 128, 18, _scaled(16, 1.04)),
    "Q2_0": BlockFormat(42, 64, 18, _scaled(16, 1.273)),
}
