"""Granite 3 and 4 (IBM 2024, https://huggingface.co/ibm-granite): llama's layers, dense or with experts, with scales of
the embedding, of what layers add and of the logits; the latest with windows and sinks."""

from __future__ import annotations

from oxillama.network.experts import Routing
from oxillama.network.graph import Graph
from oxillama.network.models.attention import SelfAttention
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout


def granite(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    # Here this key says whether positions are rotated at all.
    attention = common.attention() if hp.truth("rope.scaling.finetuned", True) else common.attention(rope=None)
    return _decoder(hp, common, [attention] * common.n_layers)


def granite_swa(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    n = common.n_layers
    layers = zip(
        hp.truths("attention.sliding_window_pattern", n), hp.truths("attention.rope_pattern", n, True), strict=True
    )
    attentions = [
        common.attention(has_sinks=True, window=common.window if windowed else 0, rope=common.rope if rotates else None)
        for windowed, rotates in layers
    ]
    return _decoder(hp, common, attentions)


def _decoder(hp: Hyperparameters, common: Common, attentions: list[SelfAttention]) -> Decoder:
    hp.irrelevant("deepstack_mapping")  # where what an image adds goes
    # A scale of 0 stands for none.
    residual_scale = hp.number("residual_scale", 0.0, positive=False) or 1.0
    ffn = _feed_forward(hp, common)
    return common.decoder(
        [Layer(attention, ffn, residual_scale=residual_scale) for attention in attentions],
        embedding_scale=hp.number("embedding_scale", 0.0, positive=False) or 1.0,
        logit_scale=1 / hp.number("logit_scale"),
    )


def _feed_forward(hp: Hyperparameters, common: Common) -> GatedFFN | ExpertFFN:
    n_experts = hp.integer("expert_count", 0, least=0)
    if not n_experts:
        return GatedFFN(common.n_ff)
    n_shared = hp.integer("expert_shared_feed_forward_length", 0, least=0)
    return ExpertFFN(
        Routing(n_experts, hp.integer("expert_used_count", most=n_experts)),
        common.n_ff,
        shared=GatedFFN(n_shared, suffix="_shexp") if n_shared else None,
    )
