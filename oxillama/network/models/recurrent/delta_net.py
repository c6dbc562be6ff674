"""Mixers by the delta rule: the gated delta net (Yang et al. 2024, arXiv:2412.06464) and Kimi's, whose keys decay one
by one (Kimi team 2025, arXiv:2510.26692)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.models.decoder import Building
from oxillama.network.models.recurrent.convolution import convolve
from oxillama.network.models.recurrent.mamba import EXP, SOFTPLUS
from oxillama.network.operations import SIGMOID, SILU
from oxillama.network.recurrence import add_constant, delta_rule, multiply_constant


def unit_heads(graph: Graph, x: Value, *, n_heads: int, epsilon: float, scale: float = 1.0) -> Value:
    """Each head over its length, the root of the sum of its squares and epsilon, times `scale`."""
    n = x.width // n_heads
    x = op.rms_norm(graph, x, None, epsilon=epsilon / n, n_heads=n_heads)
    return op.scale(graph, x, scale / n**0.5)


@dataclass(frozen=True)
class GatedDeltaNet:
    """is_tiled: head h of the values reads key head h modulo n_key_heads, else heads in a row share one."""

    n_taps: int
    n_key_heads: int
    n_heads: int
    dim: int  # of all heads
    is_tiled: bool

    def build(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        keys, values = self.n_key_heads * self.dim, self.n_heads * self.dim
        h, gate = self._project(graph, x, block)
        rate, step = self._rates(graph, x, block)
        h = op.activate(graph, convolve(graph, h, f"{block}.ssm_conv1d", n_taps=self.n_taps), SILU)
        q, k, v = (
            op.slice_columns(graph, h, offset=i, width=width)
            for i, width in ((0, keys), (keys, keys), (2 * keys, values))
        )
        epsilon = building.norm.epsilon
        q = unit_heads(graph, q, n_heads=self.n_key_heads, epsilon=epsilon, scale=self.dim**-0.5)
        k = unit_heads(graph, k, n_heads=self.n_key_heads, epsilon=epsilon)
        step = add_constant(graph, step, graph.vector(f"{block}.ssm_dt.bias", self.n_heads))
        slopes = graph.array(f"{block}.ssm_a", (self.n_heads,))
        decay = op.activate(graph, multiply_constant(graph, op.activate(graph, step, SOFTPLUS), slopes), EXP)
        y = delta_rule(
            graph,
            q,
            k,
            v,
            decay,
            op.activate(graph, rate, SIGMOID),
            n_heads=self.n_heads,
            n_key_heads=self.n_key_heads,
            is_tiled=self.is_tiled,
        )
        y = building.normalise(building.leave(y), f"{block}.ssm_norm", n_heads=self.n_heads)
        y = op.gated(graph, building.leave(gate), y, SILU)
        return op.linear(graph, y, f"{block}.ssm_out", width=x.width)

    def _project(self, graph: Graph, x: Value, block: str) -> tuple[Value, Value]:
        """Queries, keys and values of all heads, one after another, and the gate."""
        d, n, shared = self.dim, self.n_key_heads, self.n_heads // self.n_key_heads
        mixed, values = (2 * n + self.n_heads) * d, self.n_heads * d
        if graph.has(f"{block}.attn_qkv.weight") or not graph.has(f"{block}.ssm_in.weight"):
            h = op.linear(graph, x, f"{block}.attn_qkv", width=mixed)
            return h, op.linear(graph, x, f"{block}.attn_gate", width=values)
        # [query, key, values, gates] of each key head
        group = (2 + 2 * shared) * d
        parts = [
            tuple(range(start + first, start + end) for start in range(0, n * group, group))
            for first, end in ((0, d), (d, 2 * d), (2 * d, (2 + shared) * d), ((2 + shared) * d, group))
        ]
        of = n * group
        h = op.linear(graph, x, f"{block}.ssm_in", width=mixed, ranges=(*parts[0], *parts[1], *parts[2]), of=of)
        return h, op.linear(graph, x, f"{block}.ssm_in", width=values, ranges=parts[3], of=of)

    def _rates(self, graph: Graph, x: Value, block: str) -> tuple[Value, Value]:
        """What becomes the rate of learning and the step of decay of each head."""
        n, shared = self.n_heads, self.n_heads // self.n_key_heads
        if not graph.has(f"{block}.ssm_ba.weight"):
            rate = op.linear(graph, x, f"{block}.ssm_beta", width=n)
            return rate, op.linear(graph, x, f"{block}.ssm_alpha", width=n)
        # [rates, steps] of each key head
        parts = [
            tuple(range(start, start + shared) for start in range(first, 2 * n, 2 * shared)) for first in (0, shared)
        ]
        rate, step = (op.linear(graph, x, f"{block}.ssm_ba", width=n, ranges=part, of=2 * n) for part in parts)
        return rate, step


@dataclass(frozen=True)
class KimiDelta:
    n_taps: int
    n_heads: int
    dim: int

    def build(self, building: Building, x: Value) -> Value:
        graph, block, n = building.graph, building.block, self.n_heads
        width, epsilon = n * self.dim, building.norm.epsilon
        q, k, v = (op.linear(graph, x, f"{block}.attn_{name}", width=width) for name in "qkv")
        q, k, v = (
            op.activate(graph, convolve(graph, value, f"{block}.ssm_conv1d_{name}", n_taps=self.n_taps), SILU)
            for name, value in (("q", q), ("k", k), ("v", v))
        )
        q = unit_heads(graph, q, n_heads=n, epsilon=epsilon, scale=self.dim**-0.5)
        k = unit_heads(graph, k, n_heads=n, epsilon=epsilon)
        step = add_constant(
            graph, self._low_rank(graph, x, "ssm_f", block), graph.vector(f"{block}.ssm_dt.bias", width)
        )
        slopes = np.repeat(graph.array(f"{block}.ssm_a", (n,)), self.dim)
        decay = op.activate(graph, multiply_constant(graph, op.activate(graph, step, SOFTPLUS), slopes), EXP)
        rate = op.activate(graph, op.linear(graph, x, f"{block}.ssm_beta", width=n), SIGMOID)
        y = delta_rule(graph, q, k, v, decay, rate, n_heads=n, n_key_heads=n)
        y = building.normalise(building.leave(y), f"{block}.ssm_norm", n_heads=n)
        gate = self._low_rank(graph, building.leave(x), "ssm_g", block)
        y = op.gated(graph, gate, y, SIGMOID)
        return op.linear(graph, y, f"{block}.attn_output", width=x.width)

    def _low_rank(self, graph: Graph, x: Value, name: str, block: str) -> Value:
        low = op.linear(graph, x, f"{block}.{name}_a", width=self.dim)
        return op.linear(graph, low, f"{block}.{name}_b", width=self.n_heads * self.dim)
