"""KV storage and attention at every usable level: right against float64, and bit for bit alike however it is cut."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama._core.network.kernels import usable_levels
from oxillama._core.testing import attention_harness as harness
from tests.core.kv_arena import Arena, Array, Shape, normal, textbook

EDGES = [1, 2, 31, 32, 33, 63, 64, 65, 100, 1023, 1024, 1025, 2047, 2048, 2049]
HEAD_DIMS = [8, 20, 33, 64, 80, 96, 128, 256]
# Rounding to the type: relative to the values themselves (or, for q8_0, to the greatest of a sub-block).
ROUNDING = {"f32": 0.0, "f16": 2.0**-11, "bf16": 2.0**-8, "q8_0": 1.01 / 254 + 2.0**-11}

all_levels = pytest.mark.parametrize("level", usable_levels())
exact_levels = pytest.mark.parametrize("level", [level for level in usable_levels() if level != "reference"])
types = pytest.mark.parametrize("kv_type", list(harness.KV_TYPES))


@types
@pytest.mark.parametrize("head_dim", HEAD_DIMS)
def test_layout_is_the_same_at_every_level_and_aligned(kv_type: str, head_dim: int) -> None:
    sizes = {harness.kv_layout(level, kv_type, 3, head_dim, head_dim) for level in usable_levels()}
    assert len(sizes) == 1
    k_bytes, head_bytes, block_bytes = sizes.pop()
    assert k_bytes % 64 == head_bytes % 64 == 0
    assert block_bytes == 3 * head_bytes


@types
@pytest.mark.parametrize("head_dim", [8, 33, 64, 80])
def test_every_level_stores_the_same_bytes(kv_type: str, head_dim: int) -> None:
    arenas = [Arena(level, kv_type, 70, 2, head_dim) for level in usable_levels()]
    assert len({arena.bytes.tobytes() for arena in arenas}) == 1


@all_levels
@types
@pytest.mark.parametrize("head_dim", [8, 33, 80])
def test_stored_values_are_the_nearest_of_the_type(level: str, kv_type: str, head_dim: int) -> None:
    arena = Arena(level, kv_type, 45, 2, head_dim)
    for stored, given_row in zip(arena.read(), (arena.k, arena.v), strict=True):
        size = np.abs(given_row)
        if kv_type == "q8_0":
            blocks = [size[..., i : i + 32] for i in range(0, head_dim, 32)]
            size = np.concatenate([np.broadcast_to(b.max(-1, keepdims=True), b.shape) for b in blocks], axis=-1)
        assert (np.abs(stored - given_row) <= size * ROUNDING[kv_type]).all()


@all_levels
@pytest.mark.parametrize("value", [0.0, 1e-9, 1e-6, 6e4, 1e7, 3e38, np.inf, np.nan])
def test_q8_0_keeps_extremes_without_crashing(level: str, value: float) -> None:
    arena = Arena(level, "q8_0", 1, 1, 64)
    row = np.full((1, 1, 64), value, np.float32)
    row[..., 32:] = 1.0
    arena.store(0, row, -row)
    k, v = arena.read()
    np.testing.assert_allclose(k[..., 32:], 1.0, rtol=1e-3)
    if np.isfinite(value):
        representable = min(value, 127 * 65504.0)
        np.testing.assert_allclose(k[..., :32], representable, rtol=1e-3, atol=2e-6)
        np.testing.assert_allclose(v, -k)
    else:
        assert np.isnan(k[..., :32]).all()


@all_levels
@types
@settings(max_examples=20, deadline=None)
@given(
    head_dim=st.sampled_from(HEAD_DIMS),
    group=st.integers(1, 16),
    first=st.one_of(st.integers(0, 70), st.sampled_from([1000, 1023, 1024, 2040])),
    n_tokens=st.integers(1, 20),
    window=st.sampled_from([0, 0, 1, 7, 32, 33, 1000]),
    seed=st.integers(0, 9),
)
def test_attention_is_right(
    level: str, kv_type: str, head_dim: int, group: int, first: int, n_tokens: int, window: int, seed: int
) -> None:
    n_tokens = min(n_tokens, max(1, 48 // group))
    arena = Arena(level, kv_type, first + n_tokens, 1, head_dim, seed)
    q = arena.queries(n_tokens, group, seed)
    np.testing.assert_allclose(arena.attend(q, first, window), textbook(arena, q, first, window), atol=5e-6, rtol=1e-5)


SHAPES = st.builds(
    Shape,
    span=st.integers(0, 2),
    soft_cap=st.sampled_from([0.0, 0.5, 20.0]),
    slopes=st.booleans(),
    sinks=st.booleans(),
)


@all_levels
@types
@settings(max_examples=25, deadline=None)
@given(
    dims=st.sampled_from([(8, 8), (24, 16), (20, 40), (72, 64), (64, 33)]),
    group=st.integers(1, 9),
    first=st.one_of(st.integers(0, 70), st.sampled_from([1000, 1023, 1024, 2040])),
    n_tokens=st.integers(1, 20),
    later=st.integers(0, 70),
    window=st.sampled_from([1, 2, 7, 32, 33, 1000, 0]),
    shape=SHAPES,
)
def test_attention_of_any_shape_is_right(
    level: str,
    kv_type: str,
    dims: tuple[int, int],
    group: int,
    first: int,
    n_tokens: int,
    later: int,
    window: int,
    shape: Shape,
) -> None:
    n_tokens = min(n_tokens, max(1, 48 // group))
    window = max(window, 1) if shape.span == 2 else window
    n_keys = first + n_tokens + (later if shape.span == 1 else 0)
    arena = Arena(level, kv_type, n_keys, 1, dims[0], v_dim=dims[1])
    q = arena.queries(n_tokens, group)
    found = arena.attend(q, first, window, shape=shape)
    np.testing.assert_allclose(found, textbook(arena, q, first, window, shape), atol=5e-6, rtol=1e-5)


@exact_levels
@settings(max_examples=25, deadline=None)
@given(
    shape=SHAPES, cut=st.integers(1, 39), window=st.sampled_from([1, 5, 33, 64, 700]), first=st.sampled_from([0, 1000])
)
def test_any_split_of_any_shape_gives_the_same_bits(
    level: str, shape: Shape, cut: int, window: int, first: int
) -> None:
    arena = Arena(level, "f16", first + 40, 2, 24, v_dim=16)
    q = arena.queries(40, 3)
    whole = arena.attend(q, first, window, shape=shape)
    parts = [arena.attend(q[:cut], first, window, shape=shape), arena.attend(q[cut:], first + cut, window, shape=shape)]
    assert np.array_equal(whole, np.concatenate(parts))


@all_levels
@types
def test_attention_of_large_scores_is_stable(level: str, kv_type: str) -> None:
    arena = Arena(level, kv_type, 1100, 1, 64)
    q = arena.queries(2, 2) * np.float32(60)
    np.testing.assert_allclose(arena.attend(q, 1098), textbook(arena, q, 1098), atol=2e-4)


def in_pieces(arena: Arena, q: Array, first: int, window: int, cuts: list[int]) -> Array:
    bounds = [0, *sorted(set(cuts)), q.shape[0]]
    pieces = [arena.attend(q[a:b], first + a, window) for a, b in pairwise(bounds) if a < b]
    return np.concatenate(pieces)


@exact_levels
@types
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_split_of_a_run_gives_the_same_bits(level: str, kv_type: str, data: st.DataObject) -> None:
    head_dim = data.draw(st.sampled_from([8, 64, 80]))
    group = data.draw(st.integers(1, 9))
    n_head_kv = data.draw(st.integers(1, 2))
    total = data.draw(st.sampled_from(EDGES))
    n_tokens = min(total, data.draw(st.sampled_from([1, 2, 5, 17, 32, 70])))
    window = data.draw(st.sampled_from([0, 1, 5, 31, 32, 33, 64, 500, 1024, 1500]))
    cuts = data.draw(st.lists(st.integers(0, n_tokens), max_size=6))
    arena = Arena(level, kv_type, total, n_head_kv, head_dim, data.draw(st.integers(0, 9)))
    q = arena.queries(n_tokens, group)
    first = total - n_tokens
    together = arena.attend(q, first, window)
    assert np.isfinite(together).all()
    assert in_pieces(arena, q, first, window, cuts).tobytes() == together.tobytes()


@exact_levels
@types
@pytest.mark.parametrize("window", [0, 40])
@pytest.mark.parametrize(("total", "n_tokens", "group"), [(2049, 33, 3), (1030, 66, 1), (97, 97, 7), (70, 50, 16)])
def test_a_row_alone_has_the_bits_it_has_among_others(
    level: str, kv_type: str, total: int, n_tokens: int, group: int, window: int
) -> None:
    arena = Arena(level, kv_type, total, 1, 64)
    q = arena.queries(n_tokens, group)
    first = total - n_tokens
    together = arena.attend(q, first, window)
    assert in_pieces(arena, q, first, window, list(range(n_tokens))).tobytes() == together.tobytes()
    for head in range(group):
        alone = arena.attend(np.ascontiguousarray(q[:, head : head + 1]), first, window)
        assert alone[:, 0].tobytes() == together[:, head].tobytes()


@exact_levels
@types
@settings(max_examples=20, deadline=None)
@given(total=st.sampled_from(EDGES), window=st.sampled_from([0, 3, 40]), seed=st.integers(0, 9))
def test_a_row_does_not_see_other_queries(level: str, kv_type: str, total: int, window: int, seed: int) -> None:
    arena = Arena(level, kv_type, total, 1, 64)
    n_tokens = min(total, 9)
    q = arena.queries(n_tokens, 4)
    other = normal(np.random.default_rng(seed), *q.shape) * 1000
    row = seed % n_tokens
    other[row] = q[row]
    other[(row + 1) % n_tokens] = np.nan if n_tokens > 1 else q[row]
    first = total - n_tokens
    a, b = arena.attend(q, first, window), arena.attend(other, first, window)
    assert a[row].tobytes() == b[row].tobytes()


@all_levels
@types
@pytest.mark.parametrize("total", EDGES)
@pytest.mark.parametrize("window", [0, 40])
def test_unwritten_and_masked_cells_are_never_read_as_numbers(
    level: str, kv_type: str, total: int, window: int
) -> None:
    outs = []
    for garbage in (0x00, 0x7F, 0xFF):
        arena = Arena(level, kv_type, total, 2, 64, garbage=garbage)
        q = arena.queries(min(total, 3), 3)
        outs.append(arena.attend(q, total - q.shape[0], window))
    assert np.isfinite(outs[0]).all()
    assert len({out.tobytes() for out in outs}) == 1


@all_levels
@types
@pytest.mark.parametrize("window", [0, 20])
def test_later_and_expired_tokens_with_nan_change_nothing(level: str, kv_type: str, window: int) -> None:
    """A token of the same chunk that went wrong must not reach the tokens before it, nor one outside the window."""
    arena = Arena(level, kv_type, 80, 1, 64)
    q = arena.queries(60, 4)
    clean = arena.attend(q, 20, window)
    bad = np.full((1, 1, 64), np.nan, np.float32)
    arena.store(50, bad, bad)
    spoiled = arena.attend(q, 20, window)
    assert spoiled[:30].tobytes() == clean[:30].tobytes()
    assert np.isnan(spoiled[30:50]).all()
    if window:
        assert spoiled[50:].tobytes() == clean[50:].tobytes()


@exact_levels
@pytest.mark.parametrize("head_dim", [64, 128])
def test_widening_a_tile_once_or_in_registers_gives_the_same_bits(level: str, head_dim: int) -> None:
    """Few rows read the cache's type directly, many a float32 copy: a run of one token against a run of many."""
    for kv_type in harness.KV_TYPES:
        arena = Arena(level, kv_type, 200, 1, head_dim)
        q = arena.queries(100, 2)
        many = arena.attend(q, 100)
        assert arena.attend(q[-1:], 199).tobytes() == many[-1:].tobytes()


@all_levels
@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf, 3e38])
def test_strange_queries_do_not_crash(level: str, strange: float) -> None:
    arena = Arena(level, "f16", 1030, 1, 64)
    q = arena.queries(40, 3)
    q[7, 1, 5] = strange
    clean = arena.attend(arena.queries(40, 3), 990)
    out = arena.attend(q, 990)
    rest = np.ones(out.shape[:2], bool)
    rest[7, 1] = False
    assert out[rest].tobytes() == clean[rest].tobytes()


def test_harness_refuses_what_does_not_fit() -> None:
    arena = Arena("reference", "f16", 10, 2, 64)
    q = arena.queries(2, 2)
    with pytest.raises(ValueError, match="do not hold"):
        arena.attend(q, 31)
    with pytest.raises(ValueError, match="KV heads"):
        arena.attend(q[:, :3].copy(), 0)
    with pytest.raises(ValueError, match="kv_type"):
        harness.kv_layout("reference", "q4_0", 1, 64, 64)
