"""The vector type at every usable level, and in plain C: conversions, exp, reductions, masks and partial accesses."""

from __future__ import annotations

import ctypes
import mmap
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import oxillama
from oxillama._core.network.kernels import usable_levels

CSRC = Path(oxillama.__file__).parent / "_core" / "csrc"
# The scalar form serves machines that have no other; it needs no level of its own to be tried.
LEVELS = ["scalar", *(level for level in usable_levels() if level != "reference")]
Array = NDArray[Any]


class Probe:
    """vec_probe.c compiled for one level."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.probe_sum.restype = self.library.probe_reduce_max.restype = ctypes.c_float

    def __call__(self, name: str, *arguments: int | Array) -> Any:
        values = [x.ctypes.data_as(ctypes.c_void_p) if isinstance(x, np.ndarray) else x for x in arguments]
        return getattr(self.library, name)(*values)

    def convert(self, name: str, x: Array, dtype: type) -> Array:
        padded = np.zeros((x.size + 15) // 16 * 16, x.dtype)
        padded[: x.size] = x
        out: Array = np.empty(padded.size, dtype)
        self(name, padded.size, padded, out)
        return out[: x.size]


@pytest.fixture(scope="module", params=LEVELS)
def probe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Probe:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    level = "REFERENCE" if request.param == "scalar" else str(request.param).upper()
    path = tmp_path_factory.mktemp("vec") / f"{request.param}.so"
    command = [compiler, "-std=c11", "-O2", "-ffp-contract=off", "-shared", "-fPIC", f"-DOX_LEVEL_{level}", f"-I{CSRC}"]
    if "avx2" in usable_levels():
        command.append("-march=x86-64-v2")
    subprocess.run([*command, str(Path(__file__).with_name("vec_probe.c")), "-o", str(path), "-lm"], check=True)
    return Probe(path)


ALL_HALVES = np.arange(65536, dtype=np.uint16)


def bf16_of(x: Array) -> Array:
    """The nearest bfloat16 of finite values, ties to even, by comparing distances in float64."""
    bits = x.view(np.uint32)
    low = (bits >> 16).astype(np.uint32)
    high = low + 1
    step = np.ldexp(1.0, np.maximum((bits >> 23 & 0xFF).astype(int), 1) - 127 - 7)
    low_value = (low << 16).view(np.float32).astype(np.float64)
    rest = np.abs(x.astype(np.float64) - low_value)
    up = (rest > step / 2) | ((rest == step / 2) & (low % 2 == 1))
    return np.where(up, high, low).astype(np.uint16)


@pytest.mark.parametrize("prefix", ["probe", "scalar"])
def test_every_half_is_read_exactly(probe: Probe, prefix: str) -> None:
    out = probe.convert(f"{prefix}_load_f16", ALL_HALVES, np.float32)
    expected = ALL_HALVES.view(np.float16).astype(np.float32)
    nan = np.isnan(expected)
    assert np.array_equal(out[~nan].view(np.uint32), expected[~nan].view(np.uint32))
    assert np.isnan(out[nan]).all()


def interesting_floats() -> Array:
    """Random bit patterns, and the neighbourhood of every half and of every tie between two halves."""
    rng = np.random.default_rng(5)
    halves = np.arange(0, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    ties = ((halves[:-1].astype(np.float64) + halves[1:]) / 2).astype(np.float32)
    near = np.concatenate([halves, ties, np.array([65519.996, 65520, 65536, 1e-8, 1e-40], np.float32)])
    near = np.concatenate([near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf))])
    bits = rng.integers(0, 2**32, 1 << 18, dtype=np.uint32).view(np.float32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 3.4e38], np.float32)
    return np.concatenate([near, -near, bits, special])


@pytest.mark.parametrize("prefix", ["probe", "scalar"])
def test_halves_are_stored_to_nearest_even(probe: Probe, prefix: str) -> None:
    x = interesting_floats()
    out = probe.convert(f"{prefix}_store_f16", x, np.uint16)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = x.astype(np.float16).view(np.uint16)
    nan = np.isnan(x)
    assert np.array_equal(out[~nan], expected[~nan])
    assert np.isnan(out[nan].view(np.float16)).all()


@pytest.mark.parametrize("prefix", ["probe", "scalar"])
def test_bfloat16_is_read_exactly_and_stored_to_nearest_even(probe: Probe, prefix: str) -> None:
    read = probe.convert(f"{prefix}_load_bf16", ALL_HALVES, np.float32)
    expected = (ALL_HALVES.astype(np.uint32) << 16).view(np.float32)
    assert np.array_equal(read[~np.isnan(expected)], expected[~np.isnan(expected)])
    assert np.isnan(read[np.isnan(expected)]).all()
    x = interesting_floats()
    ties = ((ALL_HALVES.astype(np.uint32) << 16) | 0x8000).view(np.float32)
    x = np.concatenate([x, ties])
    out = probe.convert(f"{prefix}_store_bf16", x, np.uint16)
    finite = np.isfinite(x)
    assert np.array_equal(out[finite], bf16_of(x[finite]))
    infinite = np.isinf(x)
    assert np.array_equal(out[infinite], (x[infinite].view(np.uint32) >> 16).astype(np.uint16))
    assert np.isnan((out[np.isnan(x)].astype(np.uint32) << 16).view(np.float32)).all()


def test_signed_bytes_become_floats(probe: Probe) -> None:
    x = np.arange(-128, 128, dtype=np.int8)
    assert np.array_equal(probe.convert("probe_load_i8", x, np.float32), x.astype(np.float32))


def test_whole_floats_become_signed_bytes(probe: Probe) -> None:
    x = np.arange(-128, 128, dtype=np.float32)
    assert np.array_equal(probe.convert("probe_store_i8", x, np.int8), x.astype(np.int8))


def test_exp_is_within_two_units_in_the_last_place(probe: Probe) -> None:
    x = np.concatenate([np.linspace(-87.3, 88.7, 400_001), np.linspace(-1e-3, 1e-3, 20_001)]).astype(np.float32)
    out = probe.convert("probe_exp", x, np.float32).astype(np.float64)
    exact = np.exp(x.astype(np.float64))
    units = np.abs(out - exact) / np.spacing(exact.astype(np.float32)).astype(np.float64)
    assert units.max() < 2.0


def test_exp_at_the_ends(probe: Probe) -> None:
    x = np.array([-np.inf, -1e30, -150, -87.4, 0.0, -0.0, 88.8, 1e30, np.inf, np.nan], np.float32)
    out = probe.convert("probe_exp", x, np.float32)
    assert list(out[:4]) == [0.0] * 4
    assert list(out[4:6]) == [1.0, 1.0]
    assert list(out[6:9]) == [np.inf] * 3
    assert np.isnan(out[9])
    strange = np.array([0x7FC00001, 0xFFC00001, 0x7F800001, 0x7FFFFFFF], np.uint32).view(np.float32)
    assert np.isnan(probe.convert("probe_exp", strange, np.float32)).all()


def test_no_result_of_exp_is_subnormal(probe: Probe) -> None:
    x = np.linspace(-110, -87, 100_001).astype(np.float32)
    out = probe.convert("probe_exp", x, np.float32)
    assert ((out == 0) | (out >= np.finfo(np.float32).tiny)).all()
    assert out[-1] > 0


def test_rounding_is_to_nearest_even(probe: Probe) -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 1e9, -7.7, 8388607.5], np.float32)
    assert np.array_equal(probe.convert("probe_round", x, np.float32), np.round(x))


def lanes(elements: st.SearchStrategy[float]) -> st.SearchStrategy[Array]:
    return st.lists(elements, min_size=16, max_size=16).map(lambda x: np.array(x, np.float32))


ANY_FLOAT = st.floats(width=32)
FLOAT = st.floats(-(2.0**50), 2.0**50, width=32)


def tree(x: Array, operation: Any) -> float:
    for width in (8, 4, 2, 1):
        x = operation(x[:width], x[width : 2 * width])
    return float(x[0])


@given(x=lanes(FLOAT))
def test_reductions_follow_one_tree_at_every_level(probe: Probe, x: Array) -> None:
    assert probe("probe_sum", x) == tree(x, np.add)
    assert probe("probe_reduce_max", x) == x.max()


@given(x=lanes(ANY_FLOAT), y=lanes(ANY_FLOAT))
def test_two_operand_operations(probe: Probe, x: Array, y: Array) -> None:
    with np.errstate(all="ignore"):
        expected = [
            x + y, x - y, x * y, x / y, np.where(x > y, x, y), np.where(x < y, x, y), np.where(x < y, x, y),
            np.where(np.isnan(x), y, x), -x,
        ]  # fmt: skip
    for operation, wanted in enumerate(expected):
        out = np.empty(16, np.float32)
        probe("probe_binary", operation, x, y, out)
        assert np.array_equal(out, wanted.astype(np.float32), equal_nan=True), operation


@given(x=lanes(st.floats(-1e6, 1e6, width=32)), y=lanes(st.floats(-1e6, 1e6, width=32)), z=lanes(FLOAT))
def test_fma_is_right_to_one_rounding_of_the_product(probe: Probe, x: Array, y: Array, z: Array) -> None:
    out = np.empty(16, np.float32)
    probe("probe_fma", x, y, z, out)
    exact = x.astype(np.float64) * y + z
    product = np.abs(x.astype(np.float64) * y)
    assert (np.abs(out - exact) <= 2.0**-24 * (product + np.abs(exact)) * 1.01 + 1e-44).all()


@given(first=st.integers(-20, 40), end=st.integers(-20, 40), join=st.integers(-20, 40))
def test_masks_hold_for_any_bounds(probe: Probe, first: int, end: int, join: int) -> None:
    out = np.empty(16, np.float32)
    some = probe("probe_mask", first, end, join, out)
    lane = np.arange(16)
    expected = ((lane < end) & ~(lane < first)) | (lane < join)
    assert np.array_equal(out, expected)
    assert bool(some) == bool(expected.any())


@pytest.mark.parametrize("n", [-1, *range(17)])
def test_partial_accesses_stay_inside_the_page(probe: Probe, n: int) -> None:
    """The row ends at the last byte before memory that may not be touched."""
    size = mmap.PAGESIZE
    area = mmap.mmap(-1, 2 * size)
    pages = np.frombuffer(area, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    end = pages.ctypes.data + size
    assert libc.mprotect(ctypes.c_void_p(end), size, 0) == 0
    count = max(n, 0)
    row = pages[size - 4 * count : size].view(np.float32)
    row[:] = np.arange(1, count + 1)
    out = np.full(16, np.nan, np.float32)
    at = ctypes.c_void_p(end - 4 * count)
    probe.library.probe_load_n(n, at, out.ctypes.data_as(ctypes.c_void_p))
    assert np.array_equal(out, np.concatenate([row, np.zeros(16 - count, np.float32)]))
    probe.library.probe_store_n(n, (out + 1).ctypes.data_as(ctypes.c_void_p), at)
    assert np.array_equal(row, np.arange(2, count + 2))
    assert libc.mprotect(ctypes.c_void_p(end), size, mmap.PROT_READ | mmap.PROT_WRITE) == 0
