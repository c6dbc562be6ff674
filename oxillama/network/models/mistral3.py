"""Ministral 3 (Mistral AI 2025, https://huggingface.co/mistralai): llama's layers, with queries that grow with the
position (the scalable softmax of Nakanishi 2025, arXiv:2501.19399, in steps)."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.attention import QueryScale, growing
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.llama import feed_forward
from oxillama.network.operations import RopeLayout


def mistral3(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    attention = common.attention(query_scale=_query_scale(hp, common))
    return common.decoder([Layer(attention, feed_forward(hp, common)) for _ in range(common.n_layers)])


def _query_scale(hp: Hyperparameters, common: Common) -> QueryScale | None:
    growth = hp.number("attention.temperature_scale", 0.0, positive=False)
    if not growth:
        return None
    period = hp.integer("rope.scaling.original_context_length", common.n_ctx_train)
    return growing(hp, period=period, slope=growth)
