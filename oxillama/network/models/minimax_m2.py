"""MiniMax-M2 (MiniMax 2025): experts in every layer, queries and keys normalised over all heads."""

from __future__ import annotations

from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_experts
from oxillama.network.operations import RopeLayout


def minimax_m2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    experts = read_experts(hp, common, scores=Scores.SIGMOID, renormalises=True)
    return common.decoder([Layer(common.attention(qk_norm="row"), experts)] * common.n_layers)
