"""Grok 1 and 2 (xAI 2024): soft caps, norms behind each part, from the second on a dense network beside the experts."""

from __future__ import annotations

from dataclasses import replace

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_routing
from oxillama.network.operations import GELU_TANH, RopeLayout


def grok(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    # Other programs that run these files do not cap routers either.
    hp.irrelevant("router_logit_softcapping", "attention.temperature_length")
    scaling = replace(common.rope_of().scaling, beta_fast=hp.number("rope.scaling.yarn_beta_fast", 8.0))
    # The numbers of files that do not say are those of the first model.
    attention = common.attention(
        rope=common.rope_of(scaling=scaling),
        scale=hp.number("attention.output_scale", 0.08838834764831845),
        soft_cap=hp.number("attn_logit_softcapping", 30.0),
    )
    n_ff = hp.integer("expert_feed_forward_length", 0, least=0) or common.n_ff
    experts = ExpertFFN(read_routing(hp, renormalises=True), n_ff, GELU_TANH)
    if graph.has("blk.0.ffn_up.weight"):
        experts = replace(experts, shared=GatedFFN(common.n_ff, GELU_TANH), scale=0.5**0.5)
    old = graph.has("blk.0.layer_output_norm.weight")
    layer = Layer(
        attention,
        experts,
        mixer_post_norm="attn_output_norm",
        ffn_post_norm="layer_output_norm" if old else "post_ffw_norm",
    )
    return common.decoder(
        [layer] * common.n_layers,
        embedding_scale=hp.number("embedding_scale", 78.38367176906169),
        logit_scale=hp.number("logit_scale", 0.5773502691896257),
        logit_soft_cap=hp.number("final_logit_softcapping", 0.0, positive=False),
    )
