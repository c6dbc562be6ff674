"""Nemotron-H (NVIDIA 2025, arXiv:2504.03624) and Nemotron 3, dense and with experts: one part in each layer, which is
Mamba-2, attention without positions, or a feed-forward network."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network import operations as op
from oxillama.network.experts import Routing, Scores, expert_ffn, route
from oxillama.network.graph import Graph, Value
from oxillama.network.models.decoder import Building, Decoder, Layer, Part
from oxillama.network.models.feed_forward import PlainFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_routing
from oxillama.network.models.recurrent.mamba import Mamba2
from oxillama.network.models.recurrent.sizes import StateSpace, read_layers
from oxillama.network.operations import RELU_SQUARED


@dataclass(frozen=True)
class LatentExperts:
    """Experts that work in a narrower space, if the file has projections into it, beside one that every token uses."""

    routing: Routing
    n_ff: int
    n_latent: int
    shared: PlainFFN

    def build(self, building: Building, x: Value) -> Value:
        graph, block, n = building.graph, building.block, self.routing.n_experts
        scores = op.linear(graph, x, f"{block}.ffn_gate_inp", width=n)
        choice = route(graph, scores, self.routing, bias=graph.vector(f"{block}.exp_probs_b.bias", n))
        narrow = op.linear(graph, x, f"{block}.ffn_latent_down", width=self.n_latent) if self.n_latent else x
        made = expert_ffn(graph, narrow, choice, block, self.routing, n_ff=self.n_ff, function=RELU_SQUARED)
        if self.n_latent:
            made = op.linear(graph, made, f"{block}.ffn_latent_up", width=x.width)
        return op.add(graph, made, self.shared.build(building, x))


def nemotron_h(hp: Hyperparameters, graph: Graph) -> Decoder:
    common, sizes = read_layers(hp, graph, layout=None)
    mamba = Mamba2(StateSpace.read(hp, grouped=True))
    layers = []
    for i, size in enumerate(sizes):
        part: Part = mamba
        if size.n_ff:
            part = _feed_forward(hp.at(i), size.n_ff)
        elif size.n_head_kv:
            part = common.attention(n_heads=size.n_head, n_head_kv=size.n_head_kv)
        layers.append(Layer(part, None))
    return common.decoder(layers)


def _feed_forward(hp: Hyperparameters, n_ff: int) -> Part:
    """hp: of the layer."""
    if not hp.integer("expert_count", 0, least=0):
        return PlainFFN(n_ff, RELU_SQUARED)
    hp.irrelevant("expert_shared_count")
    routing = read_routing(hp, scores=Scores.SIGMOID)
    return LatentExperts(
        routing,
        hp.integer("expert_feed_forward_length", 0, least=0) or max(1, n_ff // routing.n_used),
        hp.integer("moe_latent_size", 0, least=0),
        PlainFFN(hp.integer("expert_shared_feed_forward_length"), RELU_SQUARED, suffix="_shexp"),
    )
