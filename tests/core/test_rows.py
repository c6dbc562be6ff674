"""Row kernels at every usable level against float64, and their independence of everything but the row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from oxillama._core import attention_harness as harness
from oxillama._core.kernels import usable_levels

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
@given(n=LENGTHS, seed=st.integers(0, 99), scale=st.sampled_from([0.01, 1.0, 30.0]))
def test_swiglu(level: str, n: int, seed: int, scale: float) -> None:
    gate, up = row(n, seed, scale), row(n, seed + 1)
    wide = gate.astype(np.float64)
    expected = wide / (1 + np.exp(-wide)) * up
    np.testing.assert_allclose(harness.swiglu(level, gate, up), expected, rtol=2e-6, atol=1e-30)


@levels
def test_swiglu_at_the_ends(level: str) -> None:
    gate = np.array([-1e4, -200, -100, 100, 1e4, 0, np.nan], np.float32)
    out = harness.swiglu(level, gate, np.ones(7, np.float32))
    np.testing.assert_allclose(out[:6], [0, 0, 0, 100, 1e4, 0], atol=1e-30)
    assert np.isnan(out[6])


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
