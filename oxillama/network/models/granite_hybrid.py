"""Granite 4 (IBM 2025): Mamba-2 in most layers, attention in the others, dense or with experts."""

from __future__ import annotations

from oxillama.network.experts import Routing
from oxillama.network.graph import Graph
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.recurrent.mamba import Mamba2
from oxillama.network.models.recurrent.sizes import StateSpace, read_layers
from oxillama.network.operations import RopeLayout


def granitehybrid(hp: Hyperparameters, graph: Graph) -> Decoder:
    rotates = hp.truth("rope.scaling.finetuned", True)
    common, sizes = read_layers(hp, graph, layout=RopeLayout.INTERLEAVED if rotates else None)
    mamba = Mamba2(StateSpace.read(hp, grouped=True))
    # A scale of 0 stands for none.
    residual_scale = hp.number("residual_scale", 0.0, positive=False) or 1.0
    hp.irrelevant("expert_shared_feed_forward_length")  # of files without experts
    layers = []
    for i, size in enumerate(sizes):
        attention = common.attention(n_heads=size.n_head, n_head_kv=size.n_head_kv)
        ffn: GatedFFN | ExpertFFN = GatedFFN(size.n_ff)
        if graph.has(f"blk.{i}.ffn_gate_inp.weight"):
            ffn = _experts(hp, size.n_ff)
        layers.append(Layer(attention if size.n_head_kv else mamba, ffn, residual_scale=residual_scale))
    return common.decoder(
        layers,
        embedding_scale=hp.number("embedding_scale", 0.0, positive=False) or 1.0,
        logit_scale=1 / (hp.number("logit_scale", 0.0, positive=False) or 1.0),
    )


def _experts(hp: Hyperparameters, n_ff: int) -> ExpertFFN:
    n_experts = hp.integer("expert_count")
    routing = Routing(n_experts, hp.integer("expert_used_count", most=n_experts))
    n_shared = hp.integer("expert_shared_feed_forward_length", 0, least=0)
    shared = GatedFFN(n_shared, suffix="_shexp") if n_shared else None
    return ExpertFFN(routing, hp.integer("expert_feed_forward_length", n_ff), shared=shared)
