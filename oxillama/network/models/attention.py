"""Attention as a part of a layer: projections, norms and rotations of queries and keys, the cache, the output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.network import operations as op
from oxillama.network.graph import KVHandle, Value
from oxillama.network.models.decoder import Building
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.rope_tables import Rope
from oxillama.network.operations import SIGMOID, Span

MOST_STEPS = 1 << 16  # of what grows with the position
MOST_ALIBI = 1000.0  # bits by which the steepest slope halves; published models have 8


@dataclass(frozen=True)
class QueryScale:
    """Queries grow with the position: times factors[(position + offset) // period]."""

    period: int
    factors: tuple[float, ...]
    offset: int = 0

    def apply(self, building: Building, q: Value) -> Value:
        factors = np.array(self.factors, np.float32)
        return op.scale_by_position(building.graph, q, factors, period=self.period, offset=self.offset)


def growing(hp: Hyperparameters, *, period: int, slope: float, offset: int = 0) -> QueryScale:
    """1 + slope ln(1 + the periods before a position), as far as the context goes."""
    n_steps = (hp.n_ctx + offset) // period + 1
    if n_steps > MOST_STEPS:
        raise UnsupportedModelError(
            f"the attention of {hp.architecture} grows every {period} tokens: a context of {hp.n_ctx} tokens has "
            f"{n_steps} steps, supported are {MOST_STEPS}"
        )
    return QueryScale(period, tuple(1 + slope * math.log(1 + step) for step in range(n_steps)), offset)


@dataclass(frozen=True)
class SelfAttention:
    """Attention over the sequence (Vaswani et al. 2017, arXiv:1706.03762), with groups of query heads for each KV head.

    qk_norm: "head": each head of queries and keys is normalised by itself, with one weight for all; "row": all heads
    together; "each": each by itself, with weights of its own; "bare": each by itself, without weights. v_norm: values
    are normalised by head, without weights. norm_after_rope: instead of before. kv_layer: a layer whose keys and
    values are read instead of own ones. v_is_k: values are the projected keys. gate: "query": a sigmoid gate for each
    output, from rows that alternate with those of the queries head by head; "head": one for each head, "full" one for
    each output, from attn_gate. clamp: of queries, keys and values. alibi: the greatest bias of ALiBi, 0 without.
    sub_norm: a norm before the output product. output_scale: of its result."""

    n_heads: int
    n_head_kv: int
    k_dim: int
    v_dim: int
    scale: float
    rope: Rope | None
    window: int = 0
    span: Span = Span.CAUSAL
    soft_cap: float = 0.0
    qk_norm: str | None = None
    v_norm: bool = False
    norm_after_rope: bool = False
    kv_layer: int | None = None
    v_is_k: bool = False
    gate: str | None = None
    clamp: float = 0.0
    alibi: float = 0.0
    has_sinks: bool = False
    query_scale: QueryScale | None = None
    sub_norm: str | None = None
    output_scale: float = 1.0

    def build(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        if not self.n_head_kv or self.n_heads % self.n_head_kv:
            raise UnsupportedModelError(f"{block} attends with {self.n_heads} heads over {self.n_head_kv} of keys")
        width = x.width
        q, k, v, gate = self._project(building, x)
        q = self._shape(building, q, "attn_q_norm", self.n_heads)
        if self.query_scale:
            q = self.query_scale.apply(building, q)
        kv = None
        if k is not None and v is not None:
            if self.v_is_k:
                v = op.scale(graph, k, 1.0)
            k = self._shape(building, k, "attn_k_norm", self.n_head_kv)
            if self.v_norm:
                v = op.rms_norm(graph, v, None, epsilon=building.norm.epsilon, n_heads=self.n_head_kv)
            kv = (k, v)
        h = op.attention(
            graph,
            q,
            kv,
            store=self._store(building),
            n_heads=self.n_heads,
            scale=self.scale,
            window=self.window,
            span=self.span,
            soft_cap=self.soft_cap,
            slopes=alibi_slopes(self.n_heads, self.alibi) if self.alibi else None,
            sinks=graph.vector(f"{block}.attn_sinks.weight", self.n_heads) if self.has_sinks else None,
        )
        h = building.leave(h)
        if gate is not None:
            h = op.multiply(graph, h, op.activate(graph, building.leave(gate), SIGMOID))
        if self.sub_norm:
            h = building.normalise(h, f"{block}.{self.sub_norm}")
        h = op.linear(graph, h, f"{block}.attn_output", width=width)
        return h if self.output_scale == 1.0 else op.scale(graph, h, self.output_scale)

    def _store(self, building: Building) -> KVHandle:
        layer = building.layer if self.kv_layer is None else self.kv_layer
        if layer not in building.stores:
            building.stores[layer] = building.graph.kv(n_head_kv=self.n_head_kv, k_dim=self.k_dim, v_dim=self.v_dim)
        return building.stores[layer]

    def _project(self, building: Building, x: Value) -> tuple[Value, Value | None, Value | None, Value | None]:
        graph, block = building.graph, building.block
        n_q, n_k, n_v = self.n_heads * self.k_dim, self.n_head_kv * self.k_dim, self.n_head_kv * self.v_dim
        gate = None
        if graph.has(f"{block}.attn_qkv.weight"):
            ends = (0, n_q, n_q + n_k, n_q + n_k + n_v)
            q, k, v = (
                op.linear(graph, x, f"{block}.attn_qkv", width=end - start, ranges=(range(start, end),), of=ends[-1])
                for start, end in pairwise(ends)
            )
            return self._bound(building, q), self._bound(building, k), self._bound(building, v), None
        if self.gate == "query":
            # [query, gate] of each head, one head after another
            ranges = [
                tuple(range(head + part, head + part + self.k_dim) for head in range(0, 2 * n_q, 2 * self.k_dim))
                for part in (0, self.k_dim)
            ]
            q, gate = (op.linear(graph, x, f"{block}.attn_q", width=n_q, ranges=part, of=2 * n_q) for part in ranges)
        else:
            q = op.linear(graph, x, f"{block}.attn_q", width=n_q)
        if self.kv_layer is not None:
            return self._bound(building, q), None, None, gate
        k = op.linear(graph, x, f"{block}.attn_k", width=n_k)
        v = k if self.v_is_k else op.linear(graph, x, f"{block}.attn_v", width=n_v)
        if self.gate in ("head", "full"):
            gate_width = self.n_heads if self.gate == "head" else self.n_heads * self.v_dim
            gate = op.linear(graph, x, f"{block}.attn_gate", width=gate_width)
        return self._bound(building, q), self._bound(building, k), self._bound(building, v), gate

    def _bound(self, building: Building, x: Value) -> Value:
        if not self.clamp:
            return x
        return op.activate(building.graph, x, op.Activation("clamp", (-self.clamp, self.clamp)))

    def _shape(self, building: Building, x: Value, name: str, n_heads: int) -> Value:
        """Norm and rotation of queries or keys, in the family's order."""
        if self.rope and self.norm_after_rope:
            x = building.tables.rotate(x, self.rope, n_heads=n_heads)
        x = self._normalise(building, x, f"{building.block}.{name}", n_heads)
        if self.rope and not self.norm_after_rope:
            x = building.tables.rotate(x, self.rope, n_heads=n_heads)
        return x

    def _normalise(self, building: Building, x: Value, name: str, n_heads: int) -> Value:
        graph, norm = building.graph, building.norm
        match self.qk_norm:
            case "head":
                return building.normalise(x, name, n_heads=n_heads)
            case "row":
                return building.normalise(x, name)
            case "bare":
                return op.rms_norm(graph, x, None, epsilon=norm.epsilon, n_heads=n_heads)
            case "each":
                apply = op.rms_norm if norm.kind == "rms" else op.layer_norm
                bare = apply(graph, x, None, epsilon=norm.epsilon, n_heads=n_heads)
                return op.scale_elements(graph, bare, f"{name}.weight", n_heads=n_heads)
        return x


def alibi_slopes(n_heads: int, greatest: float) -> npt.NDArray[np.float32]:
    """float32 [n_heads] slopes of ALiBi (Press et al. 2021, arXiv:2108.12409): a geometric sequence over the power of
    two up to n_heads, and every second term of the next one's for what is left."""
    if not 0 < greatest <= MOST_ALIBI:
        raise ModelLoadError(f"attention.max_alibi_bias is {greatest}, expected a number up to {MOST_ALIBI:g}")
    whole = 2 ** int(np.log2(n_heads))
    base = 2.0 ** (-greatest / whole)
    rest = 2.0 ** (-greatest / (2 * whole))
    slopes = [base ** (i + 1) for i in range(whole)] + [rest ** (2 * i + 1) for i in range(n_heads - whole)]
    return np.array(slopes, np.float32)
