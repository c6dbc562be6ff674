"""Matrix products at every usable level: exact against a scalar oracle, and alike for every number of tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oxillama._core.network import kernels
from oxillama._core.network.team import Team
from oxillama._core.testing import kernel_harness
from oxillama._core.testing.kernel_harness import Activations, Matrix
from tests.core.weights import FORMATS, Floats, Format, decode, random_rows, write_scales

LEVELS = kernels.usable_levels()
VECTOR_LEVELS = [level for level in LEVELS if level != "reference"]
# Their products read activations with a scale per 32 values instead of 256.
BY_32 = ("Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "MXFP4", "Q1_0", "Q2_0")
ALL_FORMATS = pytest.mark.parametrize("fmt", FORMATS.values(), ids=str)
SEEDS = st.integers(0, 2**32 - 1)


def multiply(matrix: Matrix, x: Activations, n_rows: int, *, team: Team | None = None) -> Floats:
    out = np.full((x.n, n_rows), 1e30, np.float32)
    matrix.multiply(x, out, team=team)
    return out


def random_activations(rng: np.random.Generator, n: int, k: int) -> Floats:
    """Rows of very different magnitude, with blocks of zeros."""
    x = rng.standard_normal((n, k)) * 10.0 ** rng.integers(-6, 7, (n, 1))
    x[:, rng.integers(0, k) :: 3] *= rng.choice([0.0, 1.0, 50.0])
    if rng.random() < 0.3:
        x[:, : min(k, 256)] = 0
    padded = np.full((n, k + int(rng.integers(0, 20))), np.nan, np.float32)
    padded[:, :k] = x
    return padded[:, :k]


def same_bits(x: Floats, y: Floats) -> bool:
    """Equal bits, except that any NaN equals any other."""
    return bool(np.all((x.view(np.int32) == y.view(np.int32)) | (np.isnan(x) & np.isnan(y))))


@st.composite
def shapes(draw: st.DrawFn, fmt: Format) -> tuple[int, int, int]:
    """(rows, k, tokens), mostly ragged."""
    blocks = draw(st.integers(1, max(3, 640 // fmt.block) if fmt.block > 1 else 300))
    return draw(st.integers(1, 70)), blocks * fmt.block, draw(st.integers(1, 20))


@pytest.mark.parametrize("level", VECTOR_LEVELS)
@ALL_FORMATS
@settings(max_examples=12, deadline=None)
@given(st.data())
def test_bits_are_those_of_the_scalar_oracle(level: str, fmt: Format, data: st.DataObject) -> None:
    n_rows, k, n = data.draw(shapes(fmt))
    rng = np.random.default_rng(data.draw(SEEDS))
    raw = random_rows(rng, fmt, n_rows, k, extreme=data.draw(st.booleans()))
    x = Activations(level, random_activations(rng, n, k))
    found = multiply(Matrix(level, fmt.type, k, raw), x, n_rows)
    assert same_bits(found, kernel_harness.oracle(level, fmt.type, raw, x))


@pytest.mark.parametrize("level", VECTOR_LEVELS)
@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS.values() if fmt.block > 1], ids=str)
@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_the_largest_sums_fit_their_width(level: str, fmt: Format, n: int) -> None:
    """Every code the smallest or the largest of its format, every activation 127 or -127, and signs that add up."""
    rng = np.random.default_rng(n)
    raw = random_rows(rng, fmt, 34, 512)
    blocks = raw.reshape(34, -1, fmt.block_bytes)
    blocks[::2], blocks[1::2] = 0, 0xFF
    blocks[2:4] = 0x88  # Q8_0: the most negative; nibbles of zero
    blocks[4:6] = 0x77  # the largest of MXFP4 and NVFP4
    blocks[6:12] = rng.integers(0, 256, blocks[6:12].shape, np.uint8)
    write_scales(rng, fmt, blocks)
    signs = np.ones((n, 512), np.float32)
    signs[1:] *= np.repeat(rng.choice([-1.0, 1.0], (n - 1, 128)), 4, axis=1)
    signs[2:] *= np.tile([[1.0, 1.0, -1.0, -1.0]], 128)
    signs[3:] *= np.repeat(rng.choice([-1.0, 1.0], (max(n - 3, 0), 512 // 32)), 32, axis=1)
    x = Activations(level, signs)
    assert set(np.unique(x.quants)) <= {-127, 127}
    found = multiply(Matrix(level, fmt.type, 512, raw), x, 34)
    assert same_bits(found, kernel_harness.oracle(level, fmt.type, raw, x))


@pytest.mark.parametrize("level", LEVELS)
@ALL_FORMATS
@settings(max_examples=6, deadline=None)
@given(st.data())
def test_a_token_gets_the_same_bits_in_any_company(level: str, fmt: Format, data: st.DataObject) -> None:
    n_rows, k, _ = data.draw(shapes(fmt))
    rng = np.random.default_rng(data.draw(SEEDS))
    matrix = Matrix(level, fmt.type, k, random_rows(rng, fmt, n_rows, k))
    values = random_activations(rng, 33, k)
    alone = np.concatenate([multiply(matrix, Activations(level, values[t : t + 1]), n_rows) for t in range(33)])
    for n in (2, 3, 4, 5, 6, 7, 8, 13, 33):
        tokens = rng.permutation(33)[:n]
        x = Activations(level, values[tokens])
        assert same_bits(multiply(matrix, x, n_rows), alone[tokens])
        assert same_bits(multiply(matrix, x, n_rows, team=Team(2)), alone[tokens])


@pytest.mark.parametrize("level", LEVELS)
@ALL_FORMATS
@pytest.mark.parametrize("n", [1, 3, 9])
def test_bias_comes_before_accumulation(level: str, fmt: Format, n: int) -> None:
    rng = np.random.default_rng(n)
    raw = random_rows(rng, fmt, 45, 256)
    bias = rng.standard_normal(45).astype(np.float32)
    x = Activations(level, rng.standard_normal((n, 256)).astype(np.float32))
    plain = multiply(Matrix(level, fmt.type, 256, raw), x, 45)
    biased = multiply(Matrix(level, fmt.type, 256, raw, bias), x, 45)
    if level == "reference":  # it adds the bias in double precision
        np.testing.assert_allclose(biased, plain + bias, rtol=1e-6, atol=1e-6)
    else:
        assert same_bits(biased, plain + bias)
    start = rng.standard_normal((n, 45)).astype(np.float32)
    out = start.copy()
    Matrix(level, fmt.type, 256, raw, bias).multiply(x, out, accumulate=True)
    assert same_bits(out, start + biased)


@pytest.mark.parametrize("level", LEVELS)
@ALL_FORMATS
@pytest.mark.parametrize("n", [1, 9])
def test_a_scale_of_the_matrix_multiplies_the_product_before_the_bias(level: str, fmt: Format, n: int) -> None:
    rng = np.random.default_rng(n)
    raw = random_rows(rng, fmt, 45, 256)
    bias = rng.standard_normal(45).astype(np.float32)
    scale = np.float32(0.3)
    x = Activations(level, rng.standard_normal((n, 256)).astype(np.float32))
    plain = multiply(Matrix(level, fmt.type, 256, raw), x, 45)
    scaled = multiply(Matrix(level, fmt.type, 256, raw, bias, scale=float(scale)), x, 45)
    if level == "reference":  # in double precision
        np.testing.assert_allclose(scaled, plain * scale + bias, rtol=1e-6, atol=1e-6)
    else:
        assert same_bits(scaled, plain * scale + bias)


@ALL_FORMATS
@pytest.mark.parametrize("k", [256, 768])
def test_reference_is_the_product_of_the_decoded_values(fmt: Format, k: int) -> None:
    rng = np.random.default_rng(k)
    raw = random_rows(rng, fmt, 40, k)
    values = rng.standard_normal((5, k)).astype(np.float32)
    weights = decode(fmt, raw)
    found = multiply(Matrix("reference", fmt.type, k, raw), Activations("reference", values), 40)
    scale = np.abs(values.astype(np.float64)) @ np.abs(weights).T
    assert np.all(np.abs(found - values @ weights.T) <= 1e-6 * scale)
    assert kernel_harness.activation_form("reference", fmt.type) == "float32"


@pytest.mark.parametrize("level", VECTOR_LEVELS)
@ALL_FORMATS
def test_error_is_that_of_rounding_the_activations(level: str, fmt: Format) -> None:
    rng = np.random.default_rng(4)
    raw = random_rows(rng, fmt, 40, 1024)
    values = rng.standard_normal((7, 1024)).astype(np.float32)
    values[:, :32] *= 100  # the step of the other values in its block, if they share a scale
    weights = decode(fmt, raw)
    x = Activations(level, values)
    form = kernel_harness.activation_form(level, fmt.type)
    pairs = level == "avx512bf16" and fmt.name == "BF16"
    if fmt.block > 1:
        assert form == ("int8 by 32" if fmt.name in BY_32 else "int8")
        steps = np.repeat(x.scales_by_32, 32, axis=1) if fmt.name in BY_32 else np.repeat(x.scales, 256, axis=1)
    else:
        assert form == ("bfloat16" if pairs else "float32")
        steps = np.abs(values) * np.float32(2.0**-8 if pairs else 0.0)
    rounding = 1e-6 * np.abs(values.astype(np.float64)) @ np.abs(weights).T
    bound = 0.5001 * steps.astype(np.float64) @ np.abs(weights).T + 20 * rounding
    found = multiply(Matrix(level, fmt.type, 1024, raw), x, 40)
    assert np.all(np.abs(found - values @ weights.T) <= bound)


def round_to_int8(blocks: Floats, run: int) -> tuple[Floats, NDArray[np.int8]]:
    """The scale of each `run` values of the rows, and the values as multiples of it."""
    largest = np.abs(blocks.reshape(len(blocks), -1, run)).max(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(largest > 0, np.float32(127) / largest, np.float32(0))
    return largest / np.float32(127), np.rint(blocks * np.repeat(inverse, run, axis=1)).astype(np.int8)


def negative_sums(level: str, quants: NDArray[np.int8], run: int) -> NDArray[np.int32]:
    """Minus the sums of each `run` values. Levels that add in 16 bits keep two words in each: the sums of the first and
    of the second two of every four values."""
    if level not in ("base", "avx2"):
        return np.asarray(-quants.reshape(len(quants), -1, run).sum(axis=2, dtype=np.int32))
    words = np.asarray(-quants.reshape(len(quants), -1, run // 4, 2, 2).sum(axis=(2, 4), dtype=np.int16))
    return words.reshape(len(quants), -1).view(np.int32)


@pytest.mark.parametrize("level", VECTOR_LEVELS)
@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(1, 3), SEEDS)
def test_quantised_activations(level: str, k: int, n: int, seed: int) -> None:
    values = random_activations(np.random.default_rng(seed), n, k)
    x = Activations(level, values)
    padded = -(-k // 256) * 256
    blocks = np.zeros((n, padded), np.float32)
    blocks[:, :k] = values
    scales, expected = round_to_int8(blocks, 256)
    assert same_bits(x.scales, scales)
    assert np.array_equal(x.quants, expected)
    assert np.array_equal(x.neg_sums16, negative_sums(level, expected, 16))
    assert np.array_equal(x.neg_sums32, negative_sums(level, expected, 32))
    assert np.array_equal(x.sums32, expected.reshape(n, -1, 32).sum(axis=2, dtype=np.int32))
    scales, expected = round_to_int8(blocks, 32)
    assert same_bits(x.scales_by_32, scales)
    assert np.array_equal(x.quants_by_32, expected)
    sums = expected.reshape(n, -1, 32).sum(axis=2, dtype=np.int32)
    assert same_bits(x.scaled_sums_by_32, sums.astype(np.float32) * scales)


@pytest.mark.parametrize("level", VECTOR_LEVELS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("fmt", [FORMATS[name] for name in ("Q4_0", "Q6_K", "Q4_K", "Q5_0", "Q4_1")], ids=str)
def test_a_value_that_is_not_finite_shows_in_every_result_of_its_token(level: str, bad: float, fmt: Format) -> None:
    values = np.ones((3, 512), np.float32)
    values[1, 300] = bad
    raw = random_rows(np.random.default_rng(5), fmt, 40, 512)
    found = multiply(Matrix(level, fmt.type, 512, raw), Activations(level, values), 40)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


@pytest.mark.parametrize("level", VECTOR_LEVELS)
@pytest.mark.parametrize("tiny", [1e-45, 1e-38, 1e-36, 1e-35])
def test_tiny_activations_do_not_overflow(level: str, tiny: float) -> None:
    x = Activations(level, np.full((1, 256), tiny, np.float32))
    assert np.isfinite(x.scales).all()
    assert (x.quants.astype(np.float32) * x.scales <= 1.01 * np.float32(tiny)).all()
    assert set(np.unique(x.quants)) <= {0, 127}
    assert np.array_equal(x.quants_by_32, x.quants)
    assert (x.scales_by_32 == x.scales).all()


def test_what_does_not_fit_is_refused() -> None:
    level = LEVELS[-1]
    raw = random_rows(np.random.default_rng(6), FORMATS["Q4_0"], 4, 64)
    matrix = Matrix(level, FORMATS["Q4_0"].type, 64, raw)
    out = np.zeros((1, 4), np.float32)
    with pytest.raises(ValueError, match="64 values, found 32"):
        matrix.multiply(Activations(level, np.zeros((1, 32), np.float32)), out)
    with pytest.raises(ValueError, match="different levels"):
        matrix.multiply(Activations("reference", np.zeros((1, 64), np.float32)), out)
    with pytest.raises(ValueError, match=r"shape \(2, 4\)"):
        matrix.multiply(Activations(level, np.zeros((2, 64), np.float32)), out)
    with pytest.raises(ValueError, match="'nonsense' is not usable"):
        Matrix("nonsense", FORMATS["Q4_0"].type, 64, raw)
    with pytest.raises(IndexError):
        matrix.unpack_row(4)


@pytest.mark.skipif("avx512bf16" not in LEVELS, reason="this processor has no bfloat16 dot products")
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 300), st.integers(1, 9), SEEDS)
def test_bfloat16_products_of_any_bits_are_those_of_the_oracle(n_rows: int, k: int, n: int, seed: int) -> None:
    """Subnormals, infinities and sums near the smallest normal number included."""
    rng = np.random.default_rng(seed)
    words = rng.integers(0, 1 << 16, (n_rows, k), np.uint16)
    if rng.random() < 0.5:  # products about 2^-126
        words = (words & 0x807F | rng.integers(0, 12, words.shape, np.uint16) << 7).astype(np.uint16)
    values = random_activations(rng, n, k)
    if rng.random() < 0.5:
        values *= np.float32(1e-30)
    raw = np.ascontiguousarray(words).view(np.uint8)
    x = Activations("avx512bf16", values)
    found = multiply(Matrix("avx512bf16", FORMATS["BF16"].type, k, raw), x, n_rows)
    assert same_bits(found, kernel_harness.oracle("avx512bf16", FORMATS["BF16"].type, raw, x))


@pytest.mark.skipif("avx512bf16" not in LEVELS, reason="this processor has no bfloat16 dot products")
def test_activations_are_rounded_to_bfloat16_to_the_nearest() -> None:
    values = random_activations(np.random.default_rng(8), 5, 700)
    values[0, :4] = [np.inf, -np.inf, 3.4e38, 1 + 2**-8]
    x = Activations("avx512bf16", values)
    found = np.moveaxis(x.rounded, 0, 1).reshape(5, -1)
    bits = np.ascontiguousarray(values).view(np.uint32).astype(np.uint64)
    assert np.array_equal(found[:, :700], (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    assert not found[:, 700:].any()
