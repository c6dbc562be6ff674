"""Feed-forward networks as parts of a layer: gated, plain, and mixtures of experts."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network import operations as op
from oxillama.network.experts import Routing, expert_ffn, route
from oxillama.network.graph import Value
from oxillama.network.models.decoder import Building
from oxillama.network.operations import SIGMOID, SILU, Activation


@dataclass(frozen=True)
class GatedFFN:
    """down(f(gate x) * up x) (Shazeer 2020, arXiv:2002.05202). gate and up may be one tensor, gate first. suffix: of
    the tensors' names. sub_norm: the name of a norm before the last product. bound: of f(gate x) from above, and of
    up x from both sides; 0 without."""

    n_ff: int
    function: Activation = SILU
    suffix: str = ""
    sub_norm: str | None = None
    bound: float = 0.0

    def build(self, building: Building, x: Value) -> Value:
        graph, block, n = building.graph, building.block, self.n_ff
        gate_name, up_name = f"{block}.ffn_gate{self.suffix}", f"{block}.ffn_up{self.suffix}"
        if graph.has(f"{gate_name}.weight"):
            gate, up = op.linear(graph, x, gate_name, width=n), op.linear(graph, x, up_name, width=n)
        else:
            gate, up = (
                op.linear(graph, x, up_name, width=n, ranges=(range(first, first + n),), of=2 * n) for first in (0, n)
            )
        if self.bound:
            h = op.bounded(graph, gate, up, self.function, self.bound)
        else:
            h = op.gated(graph, gate, up, self.function)
        if self.sub_norm:
            h = building.normalise(h, f"{block}.{self.sub_norm}")
        return op.linear(graph, h, f"{block}.ffn_down{self.suffix}", width=x.width)


@dataclass(frozen=True)
class PlainFFN:
    """down(f(up x))."""

    n_ff: int
    function: Activation
    suffix: str = ""

    def build(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        h = op.linear(graph, x, f"{block}.ffn_up{self.suffix}", width=self.n_ff)
        return op.linear(graph, op.activate(graph, h, self.function), f"{block}.ffn_down{self.suffix}", width=x.width)


@dataclass(frozen=True)
class ExpertFFN:
    """A mixture of experts, and one that every token uses if `shared` is given: gated by a sigmoid of
    ffn_gate_inp_shexp if shared_gate. Where the file has exp_probs_b, it is added to choose experts; bias: it must be
    there. bound: as of a GatedFFN. scale: of the sum of experts and shared one."""

    routing: Routing
    n_ff: int
    function: Activation = SILU
    shared: GatedFFN | PlainFFN | None = None
    shared_gate: bool = False
    bias: bool = False
    bound: float = 0.0
    scale: float = 1.0

    def build(self, building: Building, x: Value) -> Value:
        graph, block, n = building.graph, building.block, self.routing.n_experts
        scores = op.linear(graph, x, f"{block}.ffn_gate_inp", width=n)
        name = f"{block}.exp_probs_b.bias"
        bias = graph.vector(name, n) if self.bias or graph.has(name) else None
        choice = route(graph, scores, self.routing, bias=bias)
        made = expert_ffn(
            graph, x, choice, block, self.routing, n_ff=self.n_ff, function=self.function, bound=self.bound
        )
        if self.shared is None:
            return made
        shared = self.shared.build(building, x)
        if self.shared_gate:
            gate = op.activate(graph, op.linear(graph, x, f"{block}.ffn_gate_inp_shexp", width=1), SIGMOID)
            shared = op.multiply(graph, shared, gate)
        made = op.add(graph, made, shared)
        return made if self.scale == 1.0 else op.scale(graph, made, self.scale)
