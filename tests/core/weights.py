"""Random weight rows in the block formats of GGUF files, and NumPy's own decoding of them, for the kernel tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Format:
    """A ggml type: values and bytes per block, and where its float16 fields lie."""

    name: str
    type: int
    block: int
    block_bytes: int
    halves: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name


FORMATS = {
    fmt.name: fmt
    for fmt in (
        Format("F32", 0, 1, 4),
        Format("F16", 1, 1, 2),
        Format("BF16", 30, 1, 2),
        Format("Q4_0", 2, 32, 18, (0,)),
        Format("Q4_1", 3, 32, 20, (0, 2)),
        Format("Q5_0", 6, 32, 22, (0,)),
        Format("Q5_1", 7, 32, 24, (0, 2)),
        Format("Q8_0", 8, 32, 34, (0,)),
        Format("Q2_K", 10, 256, 84, (80, 82)),
        Format("Q3_K", 11, 256, 110, (108,)),
        Format("Q4_K", 12, 256, 144, (0, 2)),
        Format("Q5_K", 13, 256, 176, (0, 2)),
        Format("Q6_K", 14, 256, 210, (208,)),
        Format("IQ4_NL", 20, 32, 18, (0,)),
        Format("IQ4_XS", 23, 256, 136, (0,)),
        Format("IQ1_S", 19, 256, 50, (0,)),
        Format("IQ1_M", 29, 256, 56),
        Format("IQ2_XXS", 16, 256, 66, (0,)),
        Format("IQ2_XS", 17, 256, 74, (0,)),
        Format("IQ2_S", 22, 256, 82, (0,)),
        Format("IQ3_XXS", 18, 256, 98, (0,)),
        Format("IQ3_S", 21, 256, 110, (0,)),
        Format("TQ1_0", 34, 256, 54, (52,)),
        Format("TQ2_0", 35, 256, 66, (64,)),
        Format("MXFP4", 39, 32, 17),
        Format("NVFP4", 40, 64, 36),
        Format("Q1_0", 41, 128, 18, (0,)),
        Format("Q2_0", 42, 64, 18, (0,)),
    )
}
# Types whose decoding is the gguf package's, not ours.
DECODED_BY_GGUF = (
    "IQ1_S",
    "IQ1_M",
    "IQ2_XXS",
    "IQ2_XS",
    "IQ2_S",
    "IQ3_XXS",
    "IQ3_S",
    "TQ1_0",
    "TQ2_0",
    "MXFP4",
    "NVFP4",
)

# What the codes of IQ4_NL and IQ4_XS stand for.
CODEBOOK = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113])

# float16 scales worth meeting: zeros, the smallest subnormal, the largest values
EXTREME_HALVES = np.array([0.0, -0.0, 6e-8, -6e-8, 6.1e-5, 1.0, -1.0, 65504.0, -65504.0], np.float16)


def as_bytes(values: NDArray[np.generic]) -> Bytes:
    return np.ascontiguousarray(values).view(np.uint8).reshape(len(values), -1)


def random_rows(rng: np.random.Generator, fmt: Format, n_rows: int, k: int, *, extreme: bool = False) -> Bytes:
    """``n_rows`` rows of ``k`` values as the file has them. Every code word can occur; all values are finite."""
    if fmt.block == 1:
        values = rng.standard_normal((n_rows, k)).astype(np.float32)
        if extreme:
            values = rng.choice(EXTREME_HALVES, (n_rows, k)).astype(np.float32)
        if fmt.name == "F32":
            return as_bytes(values)
        if fmt.name == "F16":
            return as_bytes(values.astype(np.float16))
        return as_bytes((values.view(np.uint32) >> 16).astype(np.uint16))
    shape = (n_rows, k // fmt.block)
    raw = rng.integers(0, 256, (*shape, fmt.block_bytes), np.uint8)
    if extreme:
        raw[:] = np.where(rng.random((*shape, 1)) < 0.5, rng.choice(np.array([0, 0xFF, 0x80, 0x7F], np.uint8)), raw)
    write_scales(rng, fmt, raw, extreme=extreme)
    return raw.reshape(n_rows, -1)


def write_scales(rng: np.random.Generator, fmt: Format, blocks: Bytes, *, extreme: bool = False) -> None:
    """Gives the blocks [rows, blocks of a row, bytes] other float scales, all of them finite."""
    shape = blocks.shape[:2]
    for at in fmt.halves:
        blocks[:, :, at : at + 2] = random_halves(rng, shape, extreme=extreme)
    if fmt.name == "MXFP4":  # the exponent of a power of two
        blocks[:, :, 0] = rng.choice([0, 1, 2, 127, 180], shape) if extreme else rng.integers(118, 126, shape)
    if fmt.name == "IQ1_M":  # a float16 in the top nibbles of four words
        low, high = np.moveaxis(random_halves(rng, shape, extreme=extreme), 2, 0)
        for word, nibble in enumerate((low & 15, low >> 4, high & 15, high >> 4)):
            blocks[:, :, 49 + 2 * word] = blocks[:, :, 49 + 2 * word] & 15 | nibble << 4


def random_halves(rng: np.random.Generator, shape: tuple[int, ...], *, extreme: bool) -> Bytes:
    """The bytes [..., 2] of float16 values."""
    halves = rng.choice(EXTREME_HALVES, shape) if extreme else rng.uniform(-0.05, 0.05, shape).astype(np.float16)
    return np.ascontiguousarray(halves).view(np.uint8).reshape(*shape, 2)


def decode(fmt: Format, raw: Bytes) -> NDArray[np.float64]:
    """The values of the rows, in double precision, straight from the definition of each format."""
    n_rows = len(raw)
    if fmt.name == "F32":
        return raw.view(np.float32).astype(np.float64)
    if fmt.name == "F16":
        return raw.view(np.float16).astype(np.float64)
    if fmt.name == "BF16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    blocks = raw.reshape(-1, fmt.block_bytes)
    if fmt.name in DECODED_BY_GGUF:
        from gguf import GGMLQuantizationType
        from gguf.quants import dequantize

        return np.asarray(dequantize(raw, GGMLQuantizationType(fmt.type)), np.float64)
    if fmt.name in ("Q1_0", "Q2_0"):
        codes = 2 * bits(blocks[:, 2:]) if fmt.name == "Q1_0" else few_bits(blocks[:, 2:])
        return np.asarray(half(blocks, 0) * (codes - 1)).reshape(n_rows, -1)
    return (decode_k(fmt, blocks) if fmt.block == 256 else decode_32(fmt, blocks)).reshape(n_rows, -1)


def half(blocks: Bytes, at: int) -> NDArray[np.float64]:
    return np.ascontiguousarray(blocks[:, at : at + 2]).view(np.float16).astype(np.float64)


def nibbles(data: Bytes, run: int) -> NDArray[np.int64]:
    """Of every ``run`` bytes first the low nibbles, then the high ones."""
    runs = data.reshape(len(data), -1, run)
    return np.concatenate([runs & 15, runs >> 4], axis=2).reshape(len(data), -1).astype(np.int64)


def bits(data: Bytes) -> NDArray[np.int64]:
    return np.unpackbits(data, axis=1, bitorder="little").astype(np.int64)


def decode_32(fmt: Format, blocks: Bytes) -> NDArray[np.float64]:
    d = half(blocks, 0)
    if fmt.name == "Q8_0":
        return d * np.ascontiguousarray(blocks[:, 2:]).view(np.int8)
    codes = nibbles(blocks[:, -16:], 16)
    if fmt.name == "IQ4_NL":
        return np.asarray(d * CODEBOOK[codes])
    if fmt.name.startswith("Q5"):
        codes += bits(blocks[:, -20:-16]) << 4
    if fmt.name.endswith("_1"):
        return d * codes + half(blocks, 2)
    return d * (codes - (8 if fmt.name == "Q4_0" else 16))


def decode_k(fmt: Format, blocks: Bytes) -> NDArray[np.float64]:
    n = len(blocks)
    if fmt.name in ("Q2_K", "Q3_K", "IQ4_XS"):
        return decode_small_k(fmt, blocks)
    if fmt.name == "Q6_K":
        low = nibbles(blocks[:, :128], 64)
        pairs = blocks[:, 128:192].reshape(n, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
        codes = low + ((pairs & 3).reshape(n, 256).astype(np.int64) << 4) - 32
        integers = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8)
        values: NDArray[np.float64] = half(blocks, 208) * np.repeat(integers, 16, axis=1) * codes
        return values
    packed = blocks[:, 4:16].astype(np.int64)
    low, high, rest = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([low & 63, (rest & 15) | (low >> 6 << 4)], axis=1)
    minima = np.concatenate([high & 63, (rest >> 4) | (high >> 6 << 4)], axis=1)
    codes = nibbles(blocks[:, -128:], 32)
    if fmt.name == "Q5_K":
        fifth = bits(blocks[:, 16:48]).reshape(n, 32, 8)  # byte i, bit s: value i of sub-block s
        codes += fifth.transpose(0, 2, 1).reshape(n, 256) << 4
    d, dmin = half(blocks, 0), half(blocks, 2)
    shifted: NDArray[np.float64] = d * np.repeat(scales, 32, axis=1) * codes - dmin * np.repeat(minima, 32, axis=1)
    return shifted


def few_bits(data: Bytes) -> NDArray[np.int64]:
    """Four codes of two bits in each byte, the lowest first."""
    return ((data[:, :, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3).reshape(len(data), -1).astype(np.int64)


def crumbs(data: Bytes) -> NDArray[np.int64]:
    """Of every 32 bytes the two lowest bits of all, then the next two, and so on."""
    runs = data.reshape(len(data), 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8).reshape(1, 1, 4, 1)
    return (runs & 3).reshape(len(data), 256).astype(np.int64)


def decode_small_k(fmt: Format, blocks: Bytes) -> NDArray[np.float64]:
    n = len(blocks)
    wide = blocks.astype(np.int64)
    if fmt.name == "Q2_K":
        scales, minima = (np.repeat(part, 16, axis=1) for part in (wide[:, :16] & 15, wide[:, :16] >> 4))
        return np.asarray(half(blocks, 80) * scales * crumbs(blocks[:, 16:80]) - half(blocks, 82) * minima)
    if fmt.name == "Q3_K":
        third = bits(blocks[:, :32]).reshape(n, 32, 8).transpose(0, 2, 1).reshape(n, 256)
        low = nibbles(blocks[:, 96:104], 8)
        top = (wide[:, 104:108].reshape(n, 1, 4) >> np.array([0, 2, 4, 6]).reshape(1, 4, 1)) & 3
        scales = np.repeat((low | (top.reshape(n, 16) << 4)) - 32, 16, axis=1)
        return np.asarray(half(blocks, 108) * scales * (crumbs(blocks[:, 32:96]) + 4 * third - 4))
    top = (wide[:, 2:3] | (wide[:, 3:4] << 8)) >> (2 * np.arange(8)) & 3
    low = np.stack([wide[:, 4:8] & 15, wide[:, 4:8] >> 4], axis=2).reshape(n, 8)
    scales = np.repeat((low | (top << 4)) - 32, 32, axis=1)
    return np.asarray(half(blocks, 0) * scales * CODEBOOK[nibbles(blocks[:, 8:], 16)])
