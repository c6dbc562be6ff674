"""LFM2 (Liquid AI 2025, arXiv:2511.23404), dense and with experts: short convolutions, and attention in some layers."""

from __future__ import annotations

from oxillama._core.network.recurrence import MAX_TAPS
from oxillama.errors import UnsupportedModelError
from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_routing
from oxillama.network.models.recurrent.convolution import ShortConvolution
from oxillama.network.models.recurrent.sizes import read_layers
from oxillama.network.operations import RopeLayout


def lfm2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common, sizes = read_layers(hp, graph, layout=RopeLayout.HALVES)
    n_decision = hp.integer("decision_block_count", 0, least=0)
    if n_decision:
        raise UnsupportedModelError(f"{hp.architecture}.decision_block_count is {n_decision}, expected 0")
    convolution = ShortConvolution(hp.integer("shortconv.l_cache", most=MAX_TAPS))
    n_experts = hp.integer("expert_count", 0, least=0)
    n_dense = hp.integer("leading_dense_block_count", 0, least=0) if n_experts else common.n_layers
    layers = []
    for i, size in enumerate(sizes):
        attention = common.attention(n_heads=size.n_head, n_head_kv=size.n_head_kv, qk_norm="head")
        ffn: GatedFFN | ExpertFFN = GatedFFN(size.n_ff)
        if i >= n_dense:
            routing = read_routing(hp, scores=Scores.SIGMOID, renormalises=True)
            ffn = ExpertFFN(routing, hp.at(i).integer("expert_feed_forward_length"), bias=True)
        layers.append(Layer(attention if size.n_head_kv else convolution, ffn))
    return common.decoder(layers, output_norm="token_embd_norm")
