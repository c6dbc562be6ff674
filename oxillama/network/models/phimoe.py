"""Phi-3.5-MoE (Microsoft 2024, arXiv:2404.14219), as files have it: norms with biases, experts in every layer."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_experts
from oxillama.network.operations import RopeLayout


def phimoe(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    experts = read_experts(hp, common, renormalises=True)
    return common.decoder([Layer(common.attention(), experts)] * common.n_layers)
