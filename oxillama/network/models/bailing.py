"""Ling 1 and 2 (Ant Group 2025, arXiv:2503.05139): experts beside shared ones, from the second on chosen by sigmoids
in groups behind leading dense layers."""

from __future__ import annotations

from dataclasses import replace

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import after_dense, read_experts
from oxillama.network.operations import RopeLayout


def bailingmoe(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    return common.decoder([Layer(common.attention(), read_experts(hp, common))] * common.n_layers)


def bailingmoe2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    experts = read_experts(hp, common)
    # The length of one shared expert, of which there are several.
    n_ff = hp.integer("expert_shared_feed_forward_length", 0, least=0) or experts.n_ff
    experts = replace(experts, shared=GatedFFN(n_ff * hp.integer("expert_shared_count"), suffix="_shexp"))
    attention = common.attention(qk_norm="head")
    return common.decoder([Layer(attention, ffn) for ffn in after_dense(hp, common, experts)])
