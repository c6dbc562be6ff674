"""ERNIE 4.5 with experts (Baidu 2025): in every so many layers behind leading dense ones."""

from __future__ import annotations

from dataclasses import replace

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import after_dense, read_experts
from oxillama.network.operations import RopeLayout


def ernie4_5_moe(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    hp.irrelevant("rope.dimension_sections")  # of images; a text's positions are all the same
    experts = read_experts(hp, common, renormalises=True)
    if not hp.integer("expert_shared_feed_forward_length", 0, least=0):
        experts = replace(experts, shared=None)
    step = hp.integer("interleave_moe_layer_step")
    networks = after_dense(hp, common, experts)
    return common.decoder(
        [
            Layer(common.attention(), GatedFFN(common.n_ff) if (layer + 1) % step else ffn)
            for layer, ffn in enumerate(networks)
        ]
    )
