"""Decoding of the block formats, against NumPy and against ggml's own output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oxillama._core.network import kernels
from oxillama._core.testing import kernel_harness
from tests.core.weights import FORMATS, Format, decode, random_rows

ALL_FORMATS = pytest.mark.parametrize("fmt", FORMATS.values(), ids=str)
ALL_LEVELS = pytest.mark.parametrize("level", kernels.usable_levels())


@ALL_FORMATS
@pytest.mark.parametrize("extreme", [False, True])
def test_values_are_those_of_the_definition(fmt: Format, extreme: bool) -> None:
    raw = random_rows(np.random.default_rng(1), fmt, 64, 768, extreme=extreme)
    expected = decode(fmt, raw)
    # a difference of two products is only as exact as the larger of them
    largest = np.abs(expected).reshape(64, -1, fmt.block).max(axis=2).repeat(fmt.block, axis=1)
    error = np.abs(kernel_harness.dequantize(fmt.type, 768, raw) - expected)
    assert np.all(error <= 2e-7 * largest)


# F32 is its own decoding, so nothing of it is recorded.
@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS.values() if fmt.name != "F32"], ids=str)
def test_values_are_those_of_ggml(fmt: Format, fixtures_dir: Path) -> None:
    data = np.load(fixtures_dir / "quant" / "blocks" / f"{fmt.name}.npz")
    assert (data["type_id"], data["block"], data["block_bytes"]) == (fmt.type, fmt.block, fmt.block_bytes)
    for raw, expected in ((data["raw"], data["deq"]), (data["rand_raw"], data["rand_deq"])):
        rows = expected.reshape(-1, 1024)
        found = kernel_harness.dequantize(fmt.type, 1024, raw.reshape(len(rows), -1))
        np.testing.assert_array_max_ulp(found, rows, maxulp=1)


@ALL_FORMATS
@ALL_LEVELS
@pytest.mark.parametrize("n_rows", [1, 31, 32, 50])
def test_a_packed_row_reads_back_unchanged(fmt: Format, level: str, n_rows: int) -> None:
    k = 512 if fmt.block == 256 else 384
    raw = random_rows(np.random.default_rng(2), fmt, n_rows, k)
    matrix = kernel_harness.Matrix(level, fmt.type, k, raw)
    rows = np.stack([matrix.unpack_row(row) for row in range(n_rows)])
    assert np.array_equal(rows, kernel_harness.dequantize(fmt.type, k, raw))


@ALL_FORMATS
@ALL_LEVELS
@pytest.mark.parametrize("n_rows", [3, 64])
def test_packing_by_words_gives_the_bytes_of_packing_block_by_block(fmt: Format, level: str, n_rows: int) -> None:
    raw = random_rows(np.random.default_rng(4), fmt, n_rows, 768)
    matrix = kernel_harness.Matrix(level, fmt.type, 768, raw)
    oracle = kernel_harness.Matrix(level, fmt.type, 768, raw, decoded=True)
    assert np.array_equal(matrix.packed, oracle.packed)


# Indices of a grid become the codes of its values, which take more room; so do digits of base 3. A bfloat16 takes
# the place of MXFP4's exponent.
PACKED_GROWTH = {
    "IQ1_S": 1.68,
    "IQ1_M": 2.04,
    "IQ2_XXS": 1.61,
    "IQ2_XS": 1.55,
    "IQ2_S": 1.4,
    "IQ3_XXS": 1.41,
    "IQ3_S": 1.26,
    "TQ1_0": 1.23,
    "MXFP4": 1.06,
}


@ALL_FORMATS
@ALL_LEVELS
def test_packing_adds_at_most_four_percent_unless_codes_are_indices(fmt: Format, level: str) -> None:
    # most in Q3_K, whose scales of 6 bits become bytes
    growth = 1.04 if level == "reference" else PACKED_GROWTH.get(fmt.name, 1.04)
    raw = random_rows(np.random.default_rng(3), fmt, 64, 2048)
    assert raw.nbytes <= kernel_harness.Matrix(level, fmt.type, 2048, raw).nbytes <= growth * raw.nbytes


@pytest.mark.parametrize(
    ("type_", "k", "row_bytes", "message"),
    [
        (99, 32, 18, "ggml type 99"),
        (2, 33, 18, "multiple of 32"),
        (12, 128, 72, "multiple of 256"),
        (2, 64, 18, "takes 36 bytes"),
    ],
)
def test_rows_that_do_not_fit_the_type_are_refused(type_: int, k: int, row_bytes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_harness.dequantize(type_, k, np.zeros((1, row_bytes), np.uint8))
    with pytest.raises(ValueError, match=message):
        kernel_harness.Matrix("reference", type_, k, np.zeros((1, row_bytes), np.uint8))
