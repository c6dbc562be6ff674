"""Packing many matrices with one team: the same values as one by one, and sources that are let go."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from oxillama._core.network.team import Team
from oxillama._core.network.weights import WeightPacker, packed_bytes
from oxillama._core.testing.kernel_harness import dequantize
from tests.core.weights import FORMATS, random_rows

PAGE = mmap.PAGESIZE
# A matrix of several pieces, whose last group is not full, and small ones of every kind around it.
SHAPES = [("Q4_0", 40, 96), ("Q8_0", 4001, 4096), ("F16", 33, 17), ("Q6_K", 1, 512), ("F32", 64, 5)]


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_rows_read_back_as_the_file_defines_them(n_threads: int) -> None:
    rng = np.random.default_rng(n_threads)
    raws = [random_rows(rng, FORMATS[name], rows, k) for name, rows, k in SHAPES]
    room = sum(packed_bytes(FORMATS[name].type, rows, k) for name, rows, k in SHAPES)
    packer = WeightPacker(room)
    matrices = [
        packer.add(raw.reshape(-1), FORMATS[name].type, rows, k)
        for raw, (name, rows, k) in zip(raws, SHAPES, strict=True)
    ]
    told: list[int] = []
    packer.pack(told.append, Team(n_threads))
    assert sum(told) == sum(raw.nbytes for raw in raws)
    for matrix, raw, (name, rows, k) in zip(matrices, raws, SHAPES, strict=True):
        assert matrix.shape == (rows, k)
        for row in sorted({0, rows // 2, rows - 1, *range(0, rows, 509)}):
            expected = dequantize(FORMATS[name].type, k, raw[row : row + 1])[0]
            assert np.array_equal(matrix.row(row), expected), (name, row)
    with pytest.raises(IndexError):
        matrices[0].row(40)


def test_only_whole_pages_of_a_consumed_source_go() -> None:
    fmt, rows, k = FORMATS["Q8_0"], 700, 1024
    memory = np.frombuffer(mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), np.uint8)
    memory[:] = 7
    source = memory[PAGE + 100 :][: rows * k // 32 * 34]
    source[:] = random_rows(np.random.default_rng(0), fmt, rows, k).reshape(-1)
    kept = source.copy()
    packer = WeightPacker(packed_bytes(fmt.type, rows, k), consume=True)
    matrix = packer.add(source, fmt.type, rows, k)
    packer.pack(lambda n: None)
    for row in (0, 350, 699):
        expected = dequantize(fmt.type, k, kept.reshape(rows, -1)[row : row + 1])[0]
        assert np.array_equal(matrix.row(row), expected)
    end = PAGE + 100 + len(source)
    assert (memory[: PAGE + 100] == 7).all()
    assert (memory[end:] == 7).all()
    assert np.array_equal(source[: PAGE - 100], kept[: PAGE - 100])
    assert np.array_equal(memory[end // PAGE * PAGE : end], kept[end // PAGE * PAGE - PAGE - 100 :])
    # a page that two stretches share stays
    assert np.count_nonzero(memory[2 * PAGE : end // PAGE * PAGE]) <= PAGE


def test_a_source_is_kept_unless_it_is_consumed() -> None:
    fmt, rows, k = FORMATS["Q8_0"], 700, 1024
    source = random_rows(np.random.default_rng(0), fmt, rows, k).reshape(-1)
    kept = source.copy()
    packer = WeightPacker(packed_bytes(fmt.type, rows, k))
    packer.add(source, fmt.type, rows, k)
    packer.pack(lambda n: None)
    assert np.array_equal(source, kept)


def test_packing_ends_where_progress_raises() -> None:
    fmt = FORMATS["Q4_0"]
    packer = WeightPacker(packed_bytes(fmt.type, 32, 32))
    packer.add(np.zeros(32 * 18, np.uint8), fmt.type, 32, 32)

    def fail(n_bytes: int) -> None:
        raise ZeroDivisionError(n_bytes)

    with pytest.raises(ZeroDivisionError, match="576"):
        packer.pack(fail)


@pytest.mark.parametrize(
    ("n_bytes", "type_id", "rows", "k", "message"),
    [
        (18, 2, 0, 32, "0 x 32 cannot be packed"),
        (18, 99, 1, 32, "ggml type 99 cannot be packed"),
        (19, 2, 2, 32, "19 bytes are not 2 rows"),
        (0, 2, 1, 32, "0 bytes are not 1 rows"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(n_bytes: int, type_id: int, rows: int, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightPacker(1 << 20).add(np.zeros(n_bytes, np.uint8), type_id, rows, k)


def test_the_room_is_the_limit() -> None:
    packer = WeightPacker(packed_bytes(2, 32, 32))
    with pytest.raises(ValueError, match="bias has 31 values, expected 32"):
        packer.add(np.zeros(32 * 18, np.uint8), 2, 32, 32, bias=np.zeros(31, np.float32))
    packer.add(np.zeros(32 * 18, np.uint8), 2, 32, 32)
    with pytest.raises(MemoryError, match="do not fit into the 0 left"):
        packer.add(np.zeros(18, np.uint8), 2, 1, 32)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_float16_rows_are_rounded_to_the_nearest_bfloat16(n_threads: int) -> None:
    # Every bit pattern, in an order that spreads them over rows; rows of several pieces, the last group not full.
    patterns = np.random.default_rng(2).permutation(1 << 16).astype(np.uint16)
    rows, k = 4001, 1024
    halves = np.resize(patterns, (rows, k))
    packer = WeightPacker(packed_bytes(FORMATS["BF16"].type, rows, k))
    matrix = packer.add(halves.view(np.uint8).reshape(-1), FORMATS["BF16"].type, rows, k, rounds=True)
    packer.pack(lambda n: None, Team(n_threads))
    bits = halves.view(np.float16).astype(np.float32).view(np.uint32).astype(np.uint64)
    nearest = (((bits + 0x7FFF + (bits >> 16 & 1)) >> 16) << 16).astype(np.uint32).view(np.float32)
    expected = np.where(np.isnan(halves.view(np.float16)), np.float32(np.nan), nearest)
    for row in [*range(70), 2000, 4000]:
        np.testing.assert_array_equal(matrix.row(row), expected[row])


def test_only_float16_is_rounded_and_only_to_bfloat16() -> None:
    packer = WeightPacker(1 << 20)
    for type_id, n_bytes in ((FORMATS["F16"].type, 64), (FORMATS["BF16"].type, 128)):
        with pytest.raises(ValueError, match="float16 values to be rounded to BF16"):
            packer.add(np.zeros(n_bytes, np.uint8), type_id, 1, 32, rounds=True)
