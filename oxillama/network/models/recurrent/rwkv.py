"""Mixers of RWKV-6 (Peng et al. 2024, arXiv:2404.05892) and RWKV-7 (Peng et al. 2025, arXiv:2503.14456). Both mix each
token with the one before it, differently for each projection, and both have a matrix of each head as state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.models.decoder import Building, Layer
from oxillama.network.models.recurrent.delta_net import unit_heads
from oxillama.network.models.recurrent.mamba import EXP
from oxillama.network.operations import RELU_SQUARED, SIGMOID, SILU, Activation
from oxillama.network.recurrence import (
    add_constant,
    bonus_sum,
    head_products,
    multiply_constant,
    paired_rule,
    previous_token,
)

TANH = Activation("tanh")
HEAD_EPSILON = 64e-5  # of the norm of heads, in all published networks
DECAY_SCALE = -0.606531  # RWKV-7's decays lie between e^-0.606531 and 1: minus the root of 1 / e
FIRST_VALUES = "values of the first layer"


def _difference(graph: Graph, x: Value, previous: Value) -> Value:
    return op.add_scaled(graph, previous, x, -1.0)


def _mixed(graph: Graph, x: Value, difference: Value, part: Value) -> Value:
    return op.add(graph, x, op.multiply(graph, difference, part))


def _normalise_heads(graph: Graph, x: Value, name: str, n_heads: int) -> Value:
    x = op.layer_norm(graph, x, None, epsilon=HEAD_EPSILON, n_heads=n_heads)
    if not graph.has(f"{name}.weight"):
        return x
    x = multiply_constant(graph, x, graph.vector(f"{name}.weight", x.width))
    return add_constant(graph, x, graph.vector(f"{name}.bias", x.width))


@dataclass(frozen=True)
class TimeMix6:
    """mix_rank, decay_rank: of the low-rank matrices that make parts of the mixture and decays."""

    n_heads: int
    mix_rank: int
    decay_rank: int

    def build(self, building: Building, x: Value) -> Value:
        graph, name, width = building.graph, f"{building.block}.time_mix", x.width
        difference = _difference(graph, x, previous_token(graph, x))
        decay_input, k, v, q, gate = self._mixtures(graph, x, difference, name)
        q = op.linear(graph, q, f"{name}_receptance", width=width)
        k = op.linear(graph, k, f"{name}_key", width=width)
        v = op.linear(graph, v, f"{name}_value", width=width)
        gate = op.linear(graph, gate, f"{name}_gate", width=width)
        low = op.activate(graph, op.linear(graph, decay_input, f"{name}_decay_w1", width=self.decay_rank), TANH)
        decay = op.linear(graph, low, f"{name}_decay_w2", width=width)
        decay = add_constant(graph, decay, graph.array(f"{name}_decay.weight", (width,)))
        decay = op.activate(graph, op.scale(graph, op.activate(graph, decay, EXP), -1.0), EXP)
        bonus = graph.array(f"{name}_first.weight", (width // self.n_heads, self.n_heads)).reshape(-1)
        y = bonus_sum(graph, q, k, v, decay, bonus, n_heads=self.n_heads)
        y = op.gated(graph, gate, _normalise_heads(graph, y, f"{name}_ln", self.n_heads), SILU)
        return op.linear(graph, y, f"{name}_output", width=width)

    def _mixtures(self, graph: Graph, x: Value, difference: Value, name: str) -> list[Value]:
        """What decay, key, value, receptance and gate read: each with a part of the difference that the token says."""
        width, rank = x.width, self.mix_rank
        first = multiply_constant(graph, difference, graph.array(f"{name}_lerp_x.weight", (width,)))
        first = op.add(graph, x, first)
        low = [
            op.linear(graph, first, f"{name}_w1", width=rank, ranges=(range(i * rank, (i + 1) * rank),), of=5 * rank)
            for i in range(5)
        ]
        constants = self._constants(graph, name, width)
        mixtures = []
        for i in range(5):
            part = op.linear_of_stack(graph, op.activate(graph, low[i], TANH), f"{name}_w2", i, width=width, stack=5)
            mixtures.append(_mixed(graph, x, difference, add_constant(graph, part, constants[i])))
        return mixtures

    def _constants(
        self, graph: Graph, name: str, width: int
    ) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        if graph.has(f"{name}_lerp_fused.weight"):
            return list(graph.array(f"{name}_lerp_fused.weight", (width, 5)))
        return [graph.array(f"{name}_lerp_{part}.weight", (width,)) for part in "wkvrg"]


@dataclass(frozen=True)
class ChannelMix6:
    n_ff: int

    def build(self, building: Building, x: Value) -> Value:
        graph, name, width = building.graph, f"{building.block}.channel_mix", x.width
        difference = _difference(graph, x, previous_token(graph, x))
        x, difference = building.leave(x), building.leave(difference)
        k, q = (
            op.add(graph, x, multiply_constant(graph, difference, graph.array(f"{name}_lerp_{part}.weight", (width,))))
            for part in "kr"
        )
        q = op.activate(graph, op.linear(graph, q, f"{name}_receptance", width=width), SIGMOID)
        k = op.activate(graph, op.linear(graph, k, f"{name}_key", width=self.n_ff), RELU_SQUARED)
        return op.multiply(graph, q, op.linear(graph, k, f"{name}_value", width=width))


@dataclass(frozen=True)
class TimeMix7:
    """The ranks are those of the low-rank matrices that make decays, rates of learning, what is taken of the first
    layer's values, and the gate, which a rank of 0 leaves out."""

    n_heads: int
    decay_rank: int
    rate_rank: int
    value_rank: int
    gate_rank: int

    def build(self, building: Building, x: Value) -> Value:
        graph, name, width = building.graph, f"{building.block}.time_mix", x.width
        difference = _difference(graph, x, previous_token(graph, x))
        has_gate = self.gate_rank > 0
        parts = graph.array(f"{name}_lerp_fused.weight", (width, 5 + has_gate))
        mixtures = [op.add(graph, x, multiply_constant(graph, difference, part)) for part in parts]
        q = op.linear(graph, mixtures[0], f"{name}_receptance", width=width)
        decay = self._low_rank(graph, mixtures[1], f"{name}_w", self.decay_rank, TANH)
        decay = op.scale(graph, op.activate(graph, decay, SIGMOID), DECAY_SCALE)
        decay = op.activate(graph, decay, EXP)
        k = op.linear(graph, mixtures[2], f"{name}_key", width=width)
        v = self._values(building, mixtures[3], name)
        rate = op.activate(graph, self._low_rank(graph, mixtures[4], f"{name}_a", self.rate_rank, None), SIGMOID)
        weights = {part: graph.array(f"{name}_{part}.weight", (width,)) for part in ("k_k", "k_a", "r_k")}
        direction = multiply_constant(graph, k, weights["k_k"])
        direction = unit_heads(graph, direction, n_heads=self.n_heads, epsilon=1e-24)
        scaled = multiply_constant(graph, k, weights["k_a"])
        k = op.add(graph, k, op.add_scaled(graph, op.multiply(graph, rate, scaled), scaled, -1.0))
        removed, learned = op.scale(graph, direction, -1.0), op.multiply(graph, direction, rate)
        y = paired_rule(graph, q, k, v, decay, removed, learned, n_heads=self.n_heads)
        y = _normalise_heads(graph, y, f"{name}_ln", self.n_heads)
        own = head_products(graph, multiply_constant(graph, k, weights["r_k"]), q, n_heads=self.n_heads)
        y = op.add(graph, y, op.multiply(graph, v, own))
        if has_gate:
            gate = op.linear(graph, mixtures[5], f"{name}_g1", width=self.gate_rank)
            y = op.multiply(graph, y, op.linear(graph, op.activate(graph, gate, SIGMOID), f"{name}_g2", width=width))
        return op.linear(graph, y, f"{name}_output", width=width)

    def _values(self, building: Building, x: Value, name: str) -> Value:
        graph = building.graph
        v = op.linear(graph, x, f"{name}_value", width=x.width)
        first = building.shared.setdefault(FIRST_VALUES, v)
        if first is v:
            graph.leave_out(*(f"{name}_v{i}." for i in range(3)))
            return v
        part = op.activate(graph, self._low_rank(graph, x, f"{name}_v", self.value_rank, None), SIGMOID)
        return _mixed(graph, v, _difference(graph, v, first), part)

    def _low_rank(self, graph: Graph, x: Value, name: str, rank: int, function: Activation | None) -> Value:
        low = op.linear(graph, x, f"{name}1", width=rank)
        if function:
            low = op.activate(graph, low, function)
        made = op.linear(graph, low, f"{name}2", width=x.width)
        return add_constant(graph, made, graph.array(f"{name}0.weight", (x.width,)))


@dataclass(frozen=True)
class ChannelMix7:
    n_ff: int

    def build(self, building: Building, x: Value) -> Value:
        graph, name, width = building.graph, f"{building.block}.channel_mix", x.width
        difference = _difference(graph, x, previous_token(graph, x))
        k = multiply_constant(graph, difference, graph.array(f"{name}_lerp_k.weight", (width,)))
        k = building.leave(op.add(graph, x, k))
        k = op.activate(graph, op.linear(graph, k, f"{name}_key", width=self.n_ff), RELU_SQUARED)
        return op.linear(graph, k, f"{name}_value", width=width)


@dataclass(frozen=True)
class TokenShiftLayer(Layer):
    """A layer whose feed-forward network reads the token before, too, so that all tokens go through it. halves: the
    result, times a half."""

    halves: bool = False

    def build(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        x = op.add(graph, x, self.mixer.build(building, building.normalise(x, f"{block}.{self.mixer_norm}")))
        if self.ffn is not None:
            read = building.normalise(x, f"{block}.{self.ffn_norm}")
            building.residual = x
            made = self.ffn.build(building, read)
            x = op.add(graph, building.residual, made)
        return op.scale(graph, x, 0.5) if self.halves else x
