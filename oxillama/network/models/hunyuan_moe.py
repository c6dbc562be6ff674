"""Hunyuan-A13B (Tencent 2025): queries and keys normalised behind the rotation, experts beside a shared one."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_routing
from oxillama.network.operations import RopeLayout


def hunyuan_moe(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    shared = GatedFFN(hp.integer("expert_shared_feed_forward_length", 0, least=0) or common.n_ff, suffix="_shexp")
    # The experts have the length of the whole, which their own key repeats.
    hp.irrelevant("expert_feed_forward_length", "expert_shared_count")
    experts = ExpertFFN(read_routing(hp, renormalises=True), common.n_ff, shared=shared)
    attention = common.attention(qk_norm="head", norm_after_rope=True)
    return common.decoder([Layer(attention, experts)] * common.n_layers)
