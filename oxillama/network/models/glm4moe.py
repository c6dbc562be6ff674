"""GLM-4.5 and 4.6 (Zhipu AI 2025, arXiv:2508.06471): DeepSeek's experts behind grouped attention."""

from __future__ import annotations

from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import after_dense, read_experts
from oxillama.network.operations import RopeLayout


def glm4moe(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    hp.irrelevant("rope.dimension_sections")  # of images; a text's positions are all the same
    # Only the larger models have these norms.
    attention = common.attention(qk_norm="head" if graph.has("blk.0.attn_q_norm.weight") else None)
    experts = read_experts(hp, common, scores=Scores.SIGMOID)
    return common.decoder(
        [Layer(attention, ffn, ffn_norm="post_attention_norm") for ffn in after_dense(hp, common, experts)]
    )
