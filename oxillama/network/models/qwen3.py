"""Qwen3 (Qwen team 2025, arXiv:2505.09388), dense and with experts: llama's layers, with each head of queries and keys
normalised."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.heads import has_classifier, reading_head
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.llama import feed_forward
from oxillama.network.operations import RopeLayout


def qwen3(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    attention = common.attention(qk_norm="head")
    layers = [Layer(attention, feed_forward(hp, common)) for _ in range(common.n_layers)]
    if has_classifier(graph):
        # Of a reranker: the rows of the output for yes and no.
        return common.decoder(layers, head=reading_head(hp, graph, is_probability=True))
    return common.decoder(layers)
