"""Hunyuan's dense models (Tencent 2025, https://huggingface.co/tencent/Hunyuan-7B-Instruct): llama's layers, with each
head of queries and keys normalised once it is rotated."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout


def hunyuan(hp: Hyperparameters, graph: Graph) -> Decoder:
    hp.irrelevant("rope.dimension_sections")  # for images; text has the same position in each
    if hp.integer("expert_count", 0, least=0) > 1:
        hp.expect("expert_count", 1)
    hp.irrelevant("expert_used_count")
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    # A base that grows with the context.
    alpha = hp.number("rope.scaling.alpha", 0.0, positive=False)
    rope = common.rope_of()
    if alpha:
        rope = common.rope_of(base=rope.base * alpha ** (common.k_dim / (common.k_dim - 2)))
    attention = common.attention(rope=rope, qk_norm="head", norm_after_rope=True)
    return common.decoder([Layer(attention, GatedFFN(common.n_ff))] * common.n_layers)
