"""MiniCPM (Hu et al. 2024, arXiv:2404.06395): llama's layers, with scales of the embedding, of what layers add and of
the logits; in the third with latent attention."""

from __future__ import annotations

from oxillama.errors import ModelLoadError
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.latent_attention import LatentAttention
from oxillama.network.models.llama import feed_forward
from oxillama.network.operations import RopeLayout

# What all published sizes have, and older files and those of the third do not say.
EMBEDDING_SCALE = 12.0
DEPTH_SCALE = 1.4
BASE_WIDTH = 256


def minicpm(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    residual_scale = hp.number("residual_scale", DEPTH_SCALE / common.n_layers**0.5)
    layer = Layer(common.attention(), feed_forward(hp, common), residual_scale=residual_scale)
    return common.decoder(
        [layer] * common.n_layers,
        embedding_scale=hp.number("embedding_scale", EMBEDDING_SCALE),
        logit_scale=1 / hp.number("logit_scale", common.width / BASE_WIDTH),
    )


def minicpm3(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    turned = common.rope_of().dims
    if turned >= common.k_dim:
        raise ModelLoadError(
            f"{hp.architecture}.rope.dimension_count is {turned}, "
            f"expected less than the {common.k_dim} values of a head"
        )
    attention = LatentAttention(
        n_heads=common.n_head,
        plain=common.k_dim - turned,
        turned=turned,
        v_dim=common.v_dim,
        rank=hp.integer("attention.kv_lora_rank"),
        q_rank=hp.integer("attention.q_lora_rank"),
        scale=common.k_dim**-0.5,
        rope=common.rope,
    )
    residual_scale = DEPTH_SCALE / common.n_layers**0.5
    return common.decoder(
        [Layer(attention, GatedFFN(common.n_ff), residual_scale=residual_scale)] * common.n_layers,
        embedding_scale=EMBEDDING_SCALE,
        logit_scale=BASE_WIDTH / common.width,
    )
