"""Kimi Linear (Kimi team 2025, arXiv:2510.26692): delta rules whose keys decay one by one, and latent attention without
positions in every fourth layer, both with experts."""

from __future__ import annotations

from oxillama._core.network.recurrence import MAX_TAPS
from oxillama.errors import ModelLoadError
from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.latent_attention import LatentAttention
from oxillama.network.models.mixture import read_routing, read_shared
from oxillama.network.models.recurrent.delta_net import KimiDelta
from oxillama.network.models.recurrent.sizes import MOST, read_layers


def kimi_linear(hp: Hyperparameters, graph: Graph) -> Decoder:
    common, sizes = read_layers(hp, graph, layout=None)
    delta = KimiDelta(
        hp.integer("ssm.conv_kernel", most=MAX_TAPS), common.n_head, hp.integer("kda.head_dim", most=MOST)
    )
    attention = _attention(hp, common.n_head)
    n_dense = hp.integer("leading_dense_block_count", 0, least=0)
    layers = []
    for i, size in enumerate(sizes):
        ffn = GatedFFN(size.n_ff) if i < n_dense else _experts(hp.at(i))
        layers.append(Layer(attention if size.n_head_kv else delta, ffn))
    return common.decoder(layers)


def _attention(hp: Hyperparameters, n_heads: int) -> LatentAttention:
    k_dim, turned = hp.integer("attention.key_length_mla"), hp.integer("rope.dimension_count")
    if turned >= k_dim:
        raise ModelLoadError(
            f"{hp.architecture}.rope.dimension_count is {turned}, expected less than "
            f"{hp.architecture}.attention.key_length_mla, {k_dim}"
        )
    return LatentAttention(
        n_heads,
        plain=k_dim - turned,
        turned=turned,
        v_dim=hp.integer("attention.value_length_mla"),
        rank=hp.integer("attention.kv_lora_rank"),
        q_rank=hp.integer("attention.q_lora_rank", 0, least=0),
        scale=k_dim**-0.5,
        rope=None,
    )


def _experts(hp: Hyperparameters) -> ExpertFFN:
    n_ff = hp.integer("expert_feed_forward_length")
    routing = read_routing(hp, scores=Scores.SIGMOID, renormalises=True)
    return ExpertFFN(routing, n_ff, shared=read_shared(hp, n_ff), bias=True)
