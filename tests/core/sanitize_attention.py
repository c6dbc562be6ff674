"""Drives the row, KV and attention kernels of every level over odd sizes and hostile contents; run under sanitizers by
``tests/core/test_attention_sanitized.py``. Every buffer is a heap block of exactly the size the contract names."""

from __future__ import annotations

import numpy as np

from oxillama._core.network.kernels import usable_levels
from oxillama._core.network.row_operations import ACTIVATIONS
from oxillama._core.testing import attention_harness as harness
from tests.core.kv_arena import Arena, Shape


def exact(x: np.ndarray) -> np.ndarray:
    """A copy that ends where its allocation ends."""
    return np.array(x, np.float32, copy=True, order="C")


def rows(level: str) -> None:
    rng = np.random.default_rng(0)
    for n in [*range(1, 70), 511, 512, 513, 1025]:
        x, y = exact(rng.standard_normal(n)), exact(rng.standard_normal(n))
        for values in (x, np.full(n, np.nan, np.float32), np.full(n, 3e38, np.float32)):
            harness.rms_norm(level, exact(values), y, 1e-5)
            harness.rms_norm(level, exact(values), None, 1e-5)
            harness.add(level, exact(values), y)
            harness.layer_norm(level, exact(values), y, y, 1e-5)
            harness.multiply(level, exact(values), y)
            harness.add_scaled(level, exact(values), 0.5, harness.scale(level, y, 2.0))
            for function in ACTIVATIONS.values():
                harness.activate(level, function, exact(values), exact(np.ones(4)))
                harness.gated(level, function, exact(values), y, exact(np.ones(4)))
            harness.log_sum_exp(level, exact(values))
        if n > 1:
            cos_sin = exact(np.ones(n // 2 * 2))
            harness.rope(level, bool(n % 3), exact(np.ones((2, n))), cos_sin)


def attention(level: str) -> None:
    for kv_type in harness.KV_TYPES:
        for head_dim, group, total in [(1, 1, 1), (8, 3, 33), (20, 7, 40), (33, 5, 64), (64, 4, 1030), (80, 17, 95)]:
            arena = Arena(level, kv_type, total, 2, head_dim)
            for n_tokens in {1, min(3, total), min(30, total)}:
                for window in (0, 1, 35):
                    q = arena.queries(n_tokens, group)
                    assert np.isfinite(arena.attend(q, total - n_tokens, window)).all()
        for shape in (Shape(span=1, soft_cap=5, slopes=True), Shape(span=2, sinks=True)):
            arena = Arena(level, kv_type, 70, 2, 40, v_dim=24)
            assert np.isfinite(arena.attend(arena.queries(30, 3), 37, 35, shape=shape)).all()
        for value in (np.nan, np.inf, -np.inf, 3e38, 1e-42):
            arena = Arena(level, kv_type, 3, 1, 40)
            bad = np.full((1, 1, 40), value, np.float32)
            arena.store(1, bad, bad)
            arena.attend(np.full((3, 2, 40), value, np.float32), 0)


def main() -> None:
    np.seterr(all="ignore")
    for level in usable_levels():
        rows(level)
        attention(level)
        print(level, "done", flush=True)


if __name__ == "__main__":
    main()
