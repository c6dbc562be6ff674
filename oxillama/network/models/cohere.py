"""Command R and its successors (Cohere 2024 and 2025, arXiv:2504.00698): attention and feed-forward network read the
same, logits have a scale; from the second on most layers have a window, and those alone have positions."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common, layers_with_window
from oxillama.network.models.decoder import Decoder, Layer, Part
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout


def command_r(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED, norm="layer")
    # The large ones normalise queries and keys.
    attention = common.attention(qk_norm="each" if graph.has("blk.0.attn_q_norm.weight") else None)
    logit_scale = hp.number("logit_scale", 0.0, positive=False) or 1.0
    return common.decoder([_layer(common, attention)] * common.n_layers, logit_scale=logit_scale)


def cohere2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED, norm="layer")
    near = common.rope_of(base=hp.number("rope.freq_base_swa", common.rope_of().base))
    layers = [
        _layer(common, common.attention(rope=near) if windowed else common.attention(rope=None, window=0))
        for windowed in layers_with_window(hp, common.n_layers, default_period=4)
    ]
    return common.decoder(layers, logit_scale=hp.number("logit_scale"))


def _layer(common: Common, attention: Part) -> Layer:
    return Layer(attention, GatedFFN(common.n_ff), ffn_norm=None, parallel=True)
