"""Jamba (AI21 2024, arXiv:2403.19887): Mamba in most layers, attention without positions in the others, experts in
every second."""

from __future__ import annotations

from oxillama.network.experts import Routing
from oxillama.network.graph import Graph
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.recurrent.mamba import Mamba
from oxillama.network.models.recurrent.sizes import StateSpace, read_layers


def jamba(hp: Hyperparameters, graph: Graph) -> Decoder:
    common, sizes = read_layers(hp, graph, layout=None)
    mamba = Mamba(StateSpace.read(hp, grouped=False), normalises=True)
    layers = []
    for i, size in enumerate(sizes):
        ffn: GatedFFN | ExpertFFN = GatedFFN(size.n_ff)
        if graph.has(f"blk.{i}.ffn_gate_inp.weight"):
            n_experts = hp.integer("expert_count")
            n_used = hp.integer("expert_used_count", most=n_experts)
            scale = hp.number("expert_weights_scale", 1.0)
            ffn = ExpertFFN(Routing(n_experts, n_used, renormalises=False, scale=scale), size.n_ff)
        attention = common.attention(n_heads=size.n_head, n_head_kv=size.n_head_kv)
        layers.append(Layer(attention if size.n_head_kv else mamba, ffn))
    return common.decoder(layers)
