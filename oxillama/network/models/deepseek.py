"""DeepSeek 1 to 3 (arXiv:2401.06066, 2405.04434, 2412.19437) and what borrows their layers: leading dense layers, then
experts beside one that every token uses; from the second on latent attention."""

from __future__ import annotations

import math
from dataclasses import replace

from oxillama.errors import ModelLoadError
from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.attention import growing
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.latent_attention import LatentAttention
from oxillama.network.models.mixture import after_dense, read_experts
from oxillama.network.models.rope_tables import Rope
from oxillama.network.operations import RopeLayout

# GLM-4.7-Flash came without expert_gating_func; it is known by its vocabulary.
SIGMOID_VOCABULARY = 154880


def deepseek(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    networks = after_dense(hp, common, read_experts(hp, common))
    return common.decoder([Layer(common.attention(), ffn) for ffn in networks])


def deepseek2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    attention = read_latent_attention(hp, common)
    is_sigmoid = common.n_vocab == SIGMOID_VOCABULARY and common.n_layers in (47, 48)
    experts = read_experts(hp, common, scores=Scores.SIGMOID if is_sigmoid else Scores.SOFTMAX)
    return common.decoder([Layer(attention, ffn) for ffn in after_dense(hp, common, experts)])


def read_latent_attention(hp: Hyperparameters, common: Common) -> LatentAttention:
    # key_length is of the cache where key_length_mla is of the heads.
    k_dim = hp.integer("attention.key_length_mla", 0, least=0) or common.k_dim
    turned = common.rope_of().dims
    if turned >= k_dim:
        raise ModelLoadError(
            f"{hp.architecture}.rope.dimension_count is {turned}, expected less than the {k_dim} values of a head"
        )
    rope, sharpness = read_yarn(common.rope_of())
    slope = hp.number("attention.temperature_scale", 0.0, positive=False)
    period = hp.integer("attention.temperature_length", 0, least=0)
    if slope and not period:
        raise ModelLoadError(f"{hp.architecture}.attention.temperature_length is missing from the metadata")
    return LatentAttention(
        n_heads=common.n_head,
        plain=k_dim - turned,
        turned=turned,
        v_dim=hp.integer("attention.value_length_mla", 0, least=0) or common.v_dim,
        rank=hp.integer("attention.kv_lora_rank"),
        q_rank=hp.integer("attention.q_lora_rank", 0, least=0),
        scale=sharpness**2 * k_dim**-0.5,
        rope=rope,
        query_scale=growing(hp, period=period, slope=slope) if slope else None,
    )


def read_yarn(rope: Rope) -> tuple[Rope, float]:
    """The rotation, and what multiplies queries and keys alike in place of the magnitude of cosine and sine.

    YaRN (arXiv:2309.00071) sharpens attention by 1 + 0.1 ln(factor); here all of a head is sharpened, not the rotated
    part alone, and by a strength of the file's own."""
    scaling = rope.scaling
    if scaling.kind != "yarn" or scaling.factor <= 1:
        return rope, scaling.attention_factor
    stretch = math.log(scaling.factor)
    if not scaling.log_multiplier:
        return rope, scaling.attention_factor * (1 + 0.1 * stretch)
    # Files of these families have a tenth of the multiplier.
    level = replace(scaling, log_multiplier=1.0)
    return replace(rope, scaling=level), scaling.attention_factor * (1 + scaling.log_multiplier * stretch)
