"""OLMoE (Muennighoff et al. 2024, arXiv:2409.02060): experts in every layer, queries and keys normalised as rows."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_experts
from oxillama.network.operations import RopeLayout


def olmoe(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    return common.decoder([Layer(common.attention(qk_norm="row"), read_experts(hp, common))] * common.n_layers)
