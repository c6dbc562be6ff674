"""Kernels of recurrences at every usable level against float64, and their independence of any division."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oxillama._core.network.kernels import usable_levels
from oxillama._core.network.recurrence import MAX_TAPS, RULES
from oxillama._core.testing import recurrence_harness as harness

Array = NDArray[Any]
levels = pytest.mark.parametrize("level", usable_levels())
rules = pytest.mark.parametrize("rule", RULES)
# Lanes: none full, some full, all of a block of four vectors and more.
SHAPES = [(1, 1), (5, 3), (16, 16), (24, 24), (32, 64), (16, 100), (128, 128)]
# Levels with fused multiply-adds, which give the same bits.
FUSED = [level for level in usable_levels() if level.startswith(("avx", "neon"))]


def made_up(rule: str, n: int, k_dim: int, v_dim: int, *, by_key: bool = True, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)

    def values(*shape: int) -> Array:
        return random.standard_normal(shape).astype(np.float32)

    def between(*shape: int) -> Array:
        return random.uniform(0.1, 0.99, shape).astype(np.float32)

    inputs = {"q": values(n, k_dim), "k": values(n, k_dim) / np.float32(k_dim**0.5), "v": values(n, v_dim)}
    if rule == "scan":
        return inputs | {"step": between(n, v_dim), "rates": -between(k_dim, v_dim)}
    inputs["decay"] = between(n, k_dim if by_key else 1)
    if rule in ("plain", "delta"):
        inputs["step"] = between(n, 1)
    elif rule == "bonus":
        inputs["bonus"] = values(k_dim)
    else:
        # Along one direction what is removed is at most what is there, as in a trained network.
        inputs["a"] = values(n, k_dim) / np.float32(k_dim**0.5)
        inputs["b"] = -inputs["a"] * between(n, 1) / np.float32(2.0)
    return inputs


def definition(rule: str, state: Array, inputs: dict[str, Array]) -> Array:
    """The recurrence as papers write it, in float64; `state` changes in place."""
    wide = {name: values.astype(np.float64) for name, values in inputs.items()}
    outputs = []
    for t in range(len(wide["v"])):
        q, k, v = wide["q"][t], wide["k"][t], wide["v"][t]
        before = state.copy()
        if rule == "scan":
            state *= np.exp(wide["step"][t] * wide["rates"])
            state += np.outer(k, wide["step"][t] * v)
        else:
            state *= wide["decay"][t][:, None]
        if rule == "plain":
            state += np.outer(k, wide["step"][t] * v)
        elif rule == "delta":
            state += np.outer(k, wide["step"][t] * (v - state.T @ k))
        elif rule == "bonus":
            state += np.outer(k, v)
        elif rule == "paired":
            state += np.outer(k, v) + np.outer(wide["b"][t], before.T @ wide["a"][t])
        if rule == "bonus":
            outputs.append((before + np.outer(wide["bonus"] * k, v)).T @ q)
        else:
            outputs.append(state.T @ q)
    return np.array(outputs)


def begun(k_dim: int, v_dim: int) -> Array:
    return np.random.default_rng(99).standard_normal((k_dim, v_dim)).astype(np.float32)


@levels
@rules
@pytest.mark.parametrize("by_key", [True, False])
@pytest.mark.parametrize(("k_dim", "v_dim"), SHAPES)
def test_recur(level: str, rule: str, by_key: bool, k_dim: int, v_dim: int) -> None:
    inputs = made_up(rule, 7, k_dim, v_dim, by_key=by_key)
    state = begun(k_dim, v_dim)
    wide = state.astype(np.float64)
    found = harness.recur(level, rule, state, **inputs)
    expected = definition(rule, wide, inputs)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(state, wide, rtol=2e-5, atol=2e-5)


@levels
@rules
def test_no_bit_depends_on_the_division_of_tokens_and_lanes(level: str, rule: str) -> None:
    k_dim, v_dim, n = 20, 150, 9
    inputs = made_up(rule, n, k_dim, v_dim)
    whole = begun(k_dim, v_dim)
    expected = harness.recur(level, rule, whole, **inputs)
    by_lane = {"v", "rates"} | ({"step"} if rule == "scan" else set())
    for lanes in (range(64), range(64, 65), range(65, v_dim)):
        cut = slice(lanes.start, lanes.stop)
        state = np.ascontiguousarray(begun(k_dim, v_dim)[:, cut])
        part = {
            name: np.ascontiguousarray(values[:, cut]) if name in by_lane else values for name, values in inputs.items()
        }
        rows = []
        for first, end in ((0, 1), (1, 6), (6, n)):
            tokens = {
                name: values if name in ("bonus", "rates") else values[first:end] for name, values in part.items()
            }
            rows.append(harness.recur(level, rule, state, **tokens))
        assert np.array_equal(np.concatenate(rows), expected[:, cut])
        assert np.array_equal(state, whole[:, cut])


@rules
def test_levels_with_fused_multiply_adds_give_the_same_bits(rule: str) -> None:
    inputs = made_up(rule, 5, 32, 100)
    found = []
    for level in FUSED:
        state = begun(32, 100)
        found.append((harness.recur(level, rule, state, **inputs), state))
    for out, state in found[1:]:
        assert np.array_equal(out, found[0][0])
        assert np.array_equal(state, found[0][1])


@levels
@pytest.mark.parametrize("width", [1, 15, 16, 300])
@pytest.mark.parametrize("n_taps", [1, 3, 4, MAX_TAPS])
def test_convolve(level: str, width: int, n_taps: int) -> None:
    random = np.random.default_rng(width + n_taps)
    inputs, weight = random.standard_normal((2, n_taps, width)).astype(np.float32)
    bias = random.standard_normal(width).astype(np.float32)
    wide = (inputs.astype(np.float64) * weight).sum(axis=0)
    np.testing.assert_allclose(harness.convolve(level, inputs, weight), wide, rtol=1e-5, atol=1e-6)
    found = harness.convolve(level, inputs, weight, bias)
    np.testing.assert_allclose(found, wide + bias, rtol=1e-5, atol=1e-6)
    if level in FUSED:
        assert np.array_equal(found, harness.convolve(FUSED[0], inputs, weight, bias))


def test_what_does_not_fit_is_an_error() -> None:
    level = usable_levels()[0]
    inputs = made_up("plain", 2, 4, 4)
    with pytest.raises(ValueError, match="is not usable here"):
        harness.recur("none", "plain", begun(4, 4), **inputs)
    with pytest.raises(ValueError, match=r"expected rows of shape \(2, 5\), found \(2, 4\)"):
        harness.recur(level, "plain", begun(5, 4), **inputs)
    with pytest.raises(ValueError, match="needs steps"):
        harness.recur(level, "delta", begun(4, 4), **{name: inputs[name] for name in ("q", "k", "v", "decay")})
