"""dots.llm1 (rednote-hilab 2025, arXiv:2506.05767): DeepSeek's experts behind attention with norms of heads."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import after_dense, read_experts
from oxillama.network.operations import RopeLayout


def dots1(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    attention = common.attention(qk_norm="head")
    return common.decoder([Layer(attention, ffn) for ffn in after_dense(hp, common, read_experts(hp, common))])
