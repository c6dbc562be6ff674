"""Qwen 1.5 to 2.5 (Qwen team 2024, arXiv:2407.10671), dense and with experts: llama's layers with biases of queries,
keys and values."""

from __future__ import annotations

from oxillama.network.experts import Routing
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout


def qwen2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    return common.decoder([Layer(common.attention(), GatedFFN(common.n_ff)) for _ in range(common.n_layers)])


def qwen2moe(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    n_experts = hp.integer("expert_count")
    # The weights of the chosen experts stay as the softmax over all gave them.
    routing = Routing(n_experts, hp.integer("expert_used_count", most=n_experts), renormalises=False)
    n_ff = hp.integer("expert_feed_forward_length", common.n_ff // routing.n_used)
    shared = GatedFFN(hp.integer("expert_shared_feed_forward_length", common.n_ff), suffix="_shexp")
    ffn = ExpertFFN(routing, n_ff, shared=shared, shared_gate=True)
    return common.decoder([Layer(common.attention(), ffn) for _ in range(common.n_layers)])
