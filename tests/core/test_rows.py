"""Row kernels at every usable level against float64, and their independence of everything but the row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from oxillama._core.network.kernels import usable_levels
from oxillama._core.network.row_operations import ACTIVATIONS
from oxillama._core.testing import attention_harness as harness

Array = NDArray[Any]
LENGTHS = st.one_of(st.integers(1, 200), st.sampled_from([512, 513, 1023, 2048, 2049]))
levels = pytest.mark.parametrize("level", usable_levels())


def row(n: int, seed: int, scale: float = 1.0) -> Array:
    return (np.random.default_rng(seed).standard_normal(n) * scale).astype(np.float32)


@levels
@given(n=LENGTHS, seed=st.integers(0, 99), scale=st.sampled_from([1e-6, 1.0, 1e6]), weighted=st.booleans())
def test_rms_norm(level: str, n: int, seed: int, scale: float, weighted: bool) -> None:
    x, weight = row(n, seed, scale), row(n, seed + 100) if weighted else None
    out = harness.rms_norm(level, x, weight, 1e-5)
    wide = x.astype(np.float64)
    expected = wide / np.sqrt(np.mean(wide**2) + 1e-5) * (1.0 if weight is None else weight.astype(np.float64))
    np.testing.assert_allclose(out, expected, rtol=2e-6, atol=1e-12)


@levels
def test_rms_norm_of_zeros_and_of_nan(level: str) -> None:
    assert not harness.rms_norm(level, np.zeros(40, np.float32), None, 1e-6).any()
    x = row(40, 1)
    x[17] = np.nan
    assert np.isnan(harness.rms_norm(level, x, None, 1e-6)).all()


@levels
@given(n=LENGTHS, seed=st.integers(0, 99))
def test_add(level: str, n: int, seed: int) -> None:
    x, y = row(n, seed), row(n, seed + 1)
    assert np.array_equal(harness.add(level, x, y), x + y)


@levels
@given(n=LENGTHS, seed=st.integers(0, 99))
def test_multiply_and_scale(level: str, n: int, seed: int) -> None:
    x, y = row(n, seed), row(n, seed + 1)
    assert np.array_equal(harness.multiply(level, x, y), x * y)
    assert np.array_equal(harness.scale(level, x, 0.3), x * np.float32(0.3))
    wide = x.astype(np.float64) + np.float64(np.float32(0.3)) * y
    np.testing.assert_allclose(harness.add_scaled(level, x, 0.3, y), wide, rtol=2e-7, atol=2e-7)


@levels
@given(n=LENGTHS, seed=st.integers(0, 99), mean=st.sampled_from([0.0, 3.0, -100.0]), weighted=st.booleans())
def test_layer_norm(level: str, n: int, seed: int, mean: float, weighted: bool) -> None:
    x = row(n, seed) + np.float32(mean)
    x[0] = mean + 2  # so that no row is nearly constant, which would make roundings large
    weight, bias = (row(n, seed + 100), row(n, seed + 200)) if weighted else (None, None)
    out = harness.layer_norm(level, x, weight, bias, 1e-5)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5)
    if weight is not None and bias is not None:
        expected = expected * weight + bias
    np.testing.assert_allclose(out, expected, rtol=2e-5, atol=1e-5 + 1e-5 * abs(mean))


PARAMETERS = {
    "soft_cap": [30.0],
    "clamp": [-1.5, 0.5],
    "swiglu_clamped": [1.702, 7.0],
    "xielu": [0.8, 0.6, 0.5, -1e-6],
}


def parameters(name: str) -> Array:
    found = np.zeros(4, np.float32)
    found[: len(PARAMETERS.get(name, []))] = PARAMETERS.get(name, [])
    return found


def gelu(x: float) -> float:
    return 0.5 * x * math.erfc(-x / math.sqrt(2))


# float64, from the definitions; p: the parameters.
DEFINITIONS: dict[str, Callable[[Array, Array], Any]] = {
    "identity": lambda x, p: x,
    "silu": lambda x, p: x / (1 + np.exp(-x)),
    "gelu": lambda x, p: [gelu(value) for value in x],
    "gelu_tanh": lambda x, p: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_quick": lambda x, p: x / (1 + np.exp(-1.702 * x)),
    "relu": lambda x, p: np.maximum(x, 0),
    "relu_squared": lambda x, p: np.maximum(x, 0) ** 2,
    "sigmoid": lambda x, p: 1 / (1 + np.exp(-x)),
    "tanh": lambda x, p: np.tanh(x),
    "softplus": lambda x, p: np.logaddexp(0, x),
    "soft_cap": lambda x, p: p[0] * np.tanh(x / p[0]),
    "clamp": lambda x, p: np.clip(x, p[0], p[1]),
    "swiglu_clamped": lambda x, p: np.minimum(x, p[1]) / (1 + np.exp(-p[0] * np.minimum(x, p[1]))),
    "xielu": lambda x, p: np.where(x > 0, p[0] * x * x, (np.expm1(np.minimum(x, p[3])) - x) * p[1]) + p[2] * x,
    "exp": lambda x, p: np.exp(x),
}


@levels
@pytest.mark.parametrize("name", ACTIVATIONS)
@given(n=LENGTHS, seed=st.integers(0, 99), scale=st.sampled_from([0.01, 1.0, 6.0]))
def test_activations(level: str, name: str, n: int, seed: int, scale: float) -> None:
    x, up = row(n, seed, scale), row(n, seed + 1)
    p = parameters(name)
    expected = np.asarray(DEFINITIONS[name](x.astype(np.float64), p.astype(np.float64)))
    # Of the size of a rounding of what is added up, which the result may be far below.
    unit = 4e-7 * max(1.0, scale) * (30 if name == "soft_cap" else 1)
    number = ACTIVATIONS[name]
    np.testing.assert_allclose(harness.activate(level, number, x, p), expected, rtol=3e-6, atol=unit)
    factor = np.clip(up, -7, 7) + 1 if name == "swiglu_clamped" else up
    found = harness.gated(level, number, x, up, p)
    np.testing.assert_allclose(found, expected * factor, rtol=3e-6, atol=8 * unit)


@levels
@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_tanh", "gelu_quick"])
def test_gates_at_the_ends(level: str, name: str) -> None:
    gate = np.array([-1e4, -200, -100, 100, 1e4, 0, np.nan], np.float32)
    out = harness.gated(level, ACTIVATIONS[name], gate, np.ones(7, np.float32), np.zeros(4, np.float32))
    np.testing.assert_allclose(out[:6], [0, 0, 0, 100, 1e4, 0], atol=1e-30)
    assert np.isnan(out[6])


@levels
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_nan_stays_one(level: str, name: str) -> None:
    x, one = np.full(19, np.nan, np.float32), np.ones(19, np.float32)
    number, p = ACTIVATIONS[name], parameters(name)
    assert np.isnan(harness.activate(level, number, x, p)).all()
    assert np.isnan(harness.gated(level, number, x, one, p)).all()
    assert np.isnan(harness.gated(level, number, one, x, p)).all()


def test_levels_with_fused_multiply_adds_agree_bit_for_bit() -> None:
    fused = [level for level in usable_levels() if level not in ("reference", "base")]
    x, y = row(1000, 1, 5.0), row(1000, 2)
    for name, number in ACTIVATIONS.items():
        found = {harness.gated(level, number, x, y, parameters(name)).tobytes() for level in fused}
        assert len(found) <= 1, name
    norms = {harness.layer_norm(level, x, y, y, 1e-5).tobytes() for level in fused}
    assert len(norms) <= 1


@levels
@given(
    halves=st.booleans(),
    n_heads=st.integers(1, 5),
    pairs=st.integers(1, 64),
    rest=st.integers(0, 20),
    position=st.integers(0, 100_000),
)
def test_rope(level: str, halves: bool, n_heads: int, pairs: int, rest: int, position: int) -> None:
    head_dim = 2 * pairs + rest
    x = row(n_heads * head_dim, position).reshape(n_heads, head_dim)
    angles = position * 10000.0 ** (-np.arange(pairs) / pairs)
    cos_sin = np.concatenate([np.cos(angles), np.sin(angles)]).astype(np.float32)
    pair = np.arange(pairs)
    a, b = (pair, pair + pairs) if halves else (2 * pair, 2 * pair + 1)
    c, s = cos_sin[:pairs].astype(np.float64), cos_sin[pairs:].astype(np.float64)
    expected = x.astype(np.float64)
    expected[:, a], expected[:, b] = x[:, a] * c - x[:, b] * s, x[:, a] * s + x[:, b] * c
    out = x.copy()
    harness.rope(level, halves, out, cos_sin)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    assert np.array_equal(out[:, 2 * pairs :], x[:, 2 * pairs :])
    alone = x[-1:].copy()
    harness.rope(level, halves, alone, cos_sin)
    assert alone.tobytes() == out[-1:].tobytes()


@levels
@given(n=LENGTHS, seed=st.integers(0, 99), scale=st.sampled_from([0.01, 1.0, 50.0, 1e30]))
def test_log_sum_exp(level: str, n: int, seed: int, scale: float) -> None:
    x = row(n, seed, scale)
    wide = x.astype(np.float64)
    expected = wide.max() + np.log(np.exp(wide - wide.max()).sum())
    assert harness.log_sum_exp(level, x) == pytest.approx(expected, rel=1e-7, abs=5e-7)


@levels
def test_log_sum_exp_of_a_whole_vocabulary_keeps_its_digits(level: str) -> None:
    x = row(128_256, 3, 0.1)
    wide = x.astype(np.float64)
    assert harness.log_sum_exp(level, x) == pytest.approx(np.log(np.exp(wide).sum()), abs=1e-6)


@levels
def test_log_sum_exp_at_the_ends(level: str) -> None:
    x = row(100, 4)
    for bad in (0, 15, 16, 99):
        y = x.copy()
        y[bad] = np.nan
        assert np.isnan(harness.log_sum_exp(level, y))
        y[bad] = np.inf
        assert harness.log_sum_exp(level, y) == np.inf
        y[bad] = -np.inf
        assert harness.log_sum_exp(level, y) == pytest.approx(harness.log_sum_exp(level, np.delete(x, bad)), abs=1e-6)
    assert harness.log_sum_exp(level, np.full(20, -np.inf, np.float32)) == -np.inf
