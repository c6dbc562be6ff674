"""State-space mixers: Mamba (Gu and Dao 2023, arXiv:2312.00752) and Mamba-2 (Dao and Gu 2024, arXiv:2405.21060)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oxillama.network import operations as op
from oxillama.network.graph import Value
from oxillama.network.models.decoder import Building
from oxillama.network.models.recurrent.convolution import convolve
from oxillama.network.models.recurrent.sizes import StateSpace
from oxillama.network.operations import SILU, Activation
from oxillama.network.recurrence import add_constant, decayed_sum, multiply_constant, selective_scan

SOFTPLUS, EXP = Activation("softplus"), Activation("exp")


@dataclass(frozen=True)
class Mamba:
    """Each channel with decays of its own. normalises: steps, keys and queries are normalised, with weights where the
    file has them."""

    sizes: StateSpace
    normalises: bool

    def build(self, building: Building, x: Value) -> Value:
        graph, block, sizes = building.graph, building.block, self.sizes
        inner, rank, n = sizes.inner, sizes.rank, sizes.n_state
        h, gate = (
            op.linear(graph, x, f"{block}.ssm_in", width=inner, ranges=(range(i, i + inner),), of=2 * inner)
            for i in (0, inner)
        )
        h = op.activate(graph, convolve(graph, h, f"{block}.ssm_conv1d", n_taps=sizes.n_taps), SILU)
        step, k, q = (
            op.linear(graph, h, f"{block}.ssm_x", width=width, ranges=(range(i, i + width),), of=rank + 2 * n)
            for i, width in ((0, rank), (rank, n), (rank + n, n))
        )
        if self.normalises:
            step, k, q = (
                self._normalise(building, value, f"{block}.{name}")
                for value, name in ((step, "ssm_dt_norm"), (k, "ssm_b_norm"), (q, "ssm_c_norm"))
            )
        step = op.activate(graph, op.linear(graph, step, f"{block}.ssm_dt", width=inner), SOFTPLUS)
        y = selective_scan(graph, q, k, h, step, graph.array(f"{block}.ssm_a", (n, inner)).T)
        skip = multiply_constant(graph, h, graph.array(f"{block}.ssm_d", (inner,)))
        y = building.leave(op.add(graph, y, skip))
        y = op.gated(graph, building.leave(gate), y, SILU)
        return op.linear(graph, y, f"{block}.ssm_out", width=x.width)

    def _normalise(self, building: Building, x: Value, name: str) -> Value:
        graph = building.graph
        weights = name if graph.has(f"{name}.weight") else None
        return op.rms_norm(graph, x, weights, epsilon=building.norm.epsilon)


@dataclass(frozen=True)
class Mamba2:
    """Each head with one decay; heads of a group share keys and queries."""

    sizes: StateSpace

    def build(self, building: Building, x: Value) -> Value:
        graph, block, sizes = building.graph, building.block, self.sizes
        inner, keys, n_heads = sizes.inner, sizes.n_groups * sizes.n_state, sizes.rank
        mixed = inner + 2 * keys
        of = inner + mixed + n_heads
        gate, h, step = (
            op.linear(graph, x, f"{block}.ssm_in", width=width, ranges=(range(i, i + width),), of=of)
            for i, width in ((0, inner), (inner, mixed), (inner + mixed, n_heads))
        )
        h = op.activate(graph, convolve(graph, h, f"{block}.ssm_conv1d", n_taps=sizes.n_taps), SILU)
        v, k, q = (
            op.slice_columns(graph, h, offset=i, width=width)
            for i, width in ((0, inner), (inner, keys), (inner + keys, keys))
        )
        step = op.activate(graph, add_constant(graph, step, graph.vector(f"{block}.ssm_dt.bias", n_heads)), SOFTPLUS)
        rates = graph.array(f"{block}.ssm_a", (n_heads,))
        decay = op.activate(graph, multiply_constant(graph, step, rates), EXP)
        y = decayed_sum(graph, q, k, v, decay, step, n_heads=n_heads, n_key_heads=sizes.n_groups)
        skip = np.repeat(graph.array(f"{block}.ssm_d", (n_heads,)), inner // n_heads)
        y = building.leave(op.add(graph, y, multiply_constant(graph, v, skip)))
        y = op.gated(graph, building.leave(gate), y, SILU)
        if graph.has(f"{block}.ssm_norm.weight"):
            y = op.rms_norm(graph, y, None, epsilon=building.norm.epsilon, n_heads=sizes.n_groups)
            weights = graph.array(f"{block}.ssm_norm.weight", (inner // sizes.n_groups, sizes.n_groups))
            y = multiply_constant(graph, y, weights.reshape(-1))
        return op.linear(graph, y, f"{block}.ssm_out", width=x.width)
