"""Gemma 1 to 3 (Gemma team 2024 and 2025, arXiv:2403.08295, 2408.00118, 2503.19786): a scaled embedding, GELU gates,
from the second on norms also behind each part, soft caps, windows in most layers."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common, layers_with_window
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.heads import reading_head
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.rope import RopeScaling
from oxillama.network.operations import GELU_TANH, RopeLayout


def gemma(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    layer = Layer(common.attention(), GatedFFN(common.n_ff, GELU_TANH))
    return common.decoder([layer] * common.n_layers, embedding_scale=common.width**0.5)


def gemma2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    soft_cap = hp.number("attn_logit_softcapping", 50.0)
    has_window = layers_with_window(hp, common.n_layers, default_period=2)
    layers = [_layer(common, soft_cap=soft_cap, window=common.window if windowed else 0) for windowed in has_window]
    return common.decoder(
        layers, embedding_scale=common.width**0.5, logit_soft_cap=hp.number("final_logit_softcapping", 30.0)
    )


def gemma3(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    soft_cap = hp.number("final_logit_softcapping", 0.0, positive=False)
    layers = _layers_of_gemma3(hp, common)
    return common.decoder(layers, embedding_scale=common.width**0.5, logit_soft_cap=soft_cap)


def gemma_embedding(hp: Hyperparameters, graph: Graph) -> Decoder:
    """EmbeddingGemma (arXiv:2509.20354): tokens attend both ways, and half of the window each way."""
    common = Common.read(hp, graph, layout=RopeLayout.HALVES, causal=False)
    layers = _layers_of_gemma3(hp, common)
    return common.decoder(layers, embedding_scale=common.width**0.5, head=reading_head(hp, graph))


def _layers_of_gemma3(hp: Hyperparameters, common: Common) -> list[Layer]:
    near = common.rope_of(base=hp.number("rope.freq_base_swa", 10000.0), scaling=RopeScaling.none())
    has_window = layers_with_window(hp, common.n_layers, default_period=6)
    return [
        _layer(common, qk_norm="head", rope=near, window=common.window)
        if windowed
        else _layer(common, qk_norm="head", window=0)
        for windowed in has_window
    ]


def _layer(common: Common, **attention: object) -> Layer:
    return Layer(
        common.attention(**attention),
        GatedFFN(common.n_ff, GELU_TANH),
        mixer_post_norm="post_attention_norm",
        ffn_post_norm="post_ffw_norm",
    )
