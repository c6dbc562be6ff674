"""A KV arena of one layer for tests: filled through kv_store, read back value by value, attended in float64."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oxillama._core.testing import attention_harness as harness

Array = NDArray[Any]


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


@dataclass(frozen=True)
class Shape:
    """What an attention is besides its window: the keys that a token attends, and what becomes of a score."""

    span: int = 0  # causal, symmetric, chunk
    soft_cap: float = 0.0
    slopes: bool = False
    sinks: bool = False

    def slopes_of(self, n_heads: int) -> Array | None:
        return 2.0 ** -np.arange(1, n_heads + 1, dtype=np.float32) if self.slopes else None

    def sinks_of(self, n_heads: int) -> Array | None:
        return np.linspace(-2, 3, n_heads, dtype=np.float32) if self.sinks else None

    def keys(self, position: int, window: int, n_keys: int) -> range:
        if self.span == 2:
            return range(position - position % window, position + 1)
        if self.span == 1:
            half = window // 2 if window else n_keys
            return range(max(0, position - half), min(n_keys, position + half + 1))
        return range(max(0, position - window + 1) if window else 0, position + 1)


PLAIN = Shape()


@dataclass
class Arena:
    """Positions 0 .. n_positions - 1 are stored in shuffled blocks; what is not stored holds the byte ``garbage``."""

    level: str
    kv_type: str
    n_positions: int
    n_head_kv: int
    head_dim: int
    seed: int = 0
    v_dim: int = 0  # that of the keys
    garbage: int = 0xFF  # NaN in every float format, also as a scale
    k: Array = field(init=False)
    v: Array = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.v_dim = self.v_dim or self.head_dim
        n_blocks = (self.n_positions + 31) // 32
        self.k_bytes, self.head_bytes, self.block_bytes = harness.kv_layout(
            self.level, self.kv_type, self.n_head_kv, self.head_dim, self.v_dim
        )
        self.blocks = rng.permutation(n_blocks + 1)[:n_blocks].astype(np.int32)
        self.bytes = harness.aligned_bytes((n_blocks + 1) * self.block_bytes)
        self.bytes[:] = self.garbage
        self.k = normal(rng, self.n_positions, self.n_head_kv, self.head_dim)
        self.v = normal(rng, self.n_positions, self.n_head_kv, self.v_dim)
        self.store(0, self.k, self.v)

    def store(self, first_position: int, k: Array, v: Array) -> None:
        harness.kv_store(self.level, self.kv_type, k, v, first_position, self.bytes, self.blocks)

    def attend(
        self, q: Array, first_position: int, window: int = 0, level: str | None = None, shape: Shape = PLAIN
    ) -> Array:
        """Attention of q, [tokens, heads, head_dim], at consecutive positions."""
        out = np.full((*q.shape[:2], self.v_dim), np.nan, np.float32)
        harness.attention(
            level or self.level, self.kv_type, q, self.n_head_kv, first_position, window, self.head_dim**-0.5,
            self.bytes, self.blocks, out, span=shape.span, n_keys=self.n_positions, soft_cap=shape.soft_cap,
            slopes=shape.slopes_of(q.shape[1]), sinks=shape.sinks_of(q.shape[1]),
        )  # fmt: skip
        return out

    def queries(self, n_tokens: int, group: int, seed: int = 1) -> Array:
        return normal(np.random.default_rng(seed), n_tokens, self.n_head_kv * group, self.head_dim)

    def read(self) -> tuple[Array, Array]:
        """The stored K and V as float64 [positions, heads, dim], decoded here from the documented layout."""
        stride = (self.v_dim + 15) // 16 * 16
        k, v = (np.empty((self.n_positions, self.n_head_kv, dim)) for dim in (self.head_dim, self.v_dim))
        for position in range(0, self.n_positions, 32):
            n = min(32, self.n_positions - position)
            for head in range(self.n_head_kv):
                start = int(self.blocks[position // 32]) * self.block_bytes + head * self.head_bytes
                memory = self.bytes[start : start + self.head_bytes]
                k_tile = self.values(memory[: self.k_bytes], (self.head_dim, 32), transposed=True)
                v_tile = self.values(memory[self.k_bytes :], (32, stride), transposed=False)
                k[position : position + n, head] = k_tile.T[:n]
                v[position : position + n, head] = v_tile[:n, : self.v_dim]
        return k, v

    def values(self, memory: Array, shape: tuple[int, int], transposed: bool) -> Array:
        count = shape[0] * shape[1]
        if self.kv_type == "f32":
            return memory[: 4 * count].view(np.float32).reshape(shape).astype(np.float64)
        if self.kv_type == "f16":
            return memory[: 2 * count].view(np.float16).reshape(shape).astype(np.float64)
        if self.kv_type == "bf16":
            bits = memory[: 2 * count].view(np.uint16).astype(np.uint32) << 16
            return bits.view(np.float32).reshape(shape).astype(np.float64)
        n_sub = ((self.head_dim if transposed else self.v_dim) + 31) // 32
        scales = memory[count : count + 64 * n_sub].view(np.float16).astype(np.float64)
        scales = scales.reshape((n_sub, 32) if transposed else (32, n_sub))
        with np.errstate(invalid="ignore"):
            spread = scales.repeat(32, axis=0 if transposed else 1)[: shape[0], : shape[1]]
            return memory[:count].view(np.int8).reshape(shape) * spread


def textbook(arena: Arena, q: Array, first_position: int, window: int = 0, shape: Shape = PLAIN) -> Array:
    """softmax(q . k * scale) . v over the stored values, in float64."""
    k, v = arena.read()
    group = q.shape[1] // arena.n_head_kv
    slopes, sinks = shape.slopes_of(q.shape[1]), shape.sinks_of(q.shape[1])
    out = np.empty((*q.shape[:2], arena.v_dim))
    for token in range(q.shape[0]):
        position = first_position + token
        attended = shape.keys(position, window, arena.n_positions)
        for head in range(q.shape[1]):
            keys = k[attended.start : attended.stop, head // group]
            scores = keys @ q[token, head].astype(np.float64) * arena.head_dim**-0.5
            if shape.soft_cap:
                scores = shape.soft_cap * np.tanh(scores / shape.soft_cap)
            if slopes is not None:
                scores -= slopes[head] * np.abs(np.array(attended) - position)
            top = scores.max() if sinks is None else max(scores.max(), sinks[head])
            weights = np.exp(scores - top)
            total = weights.sum() + (0 if sinks is None else np.exp(sinks[head] - top))
            out[token, head] = weights @ v[attended.start : attended.stop, head // group] / total
    return out
