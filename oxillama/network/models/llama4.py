"""Llama 4 (Meta 2025): three layers of four attend their own stretch of 8192 tokens, the fourth everything and without
positions; every second layer or all have experts, whose weight multiplies what they read."""

from __future__ import annotations

from dataclasses import replace

from oxillama.errors import UnsupportedModelError
from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.attention import growing
from oxillama.network.models.common import Common, layers_with_window
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_routing
from oxillama.network.operations import RopeLayout, Span

# Files do not say these.
STRETCH = 8192
TEMPERATURE = 0.1
UNNORMALISED_EXPERTS = 128  # the model with so many has no norm of queries and keys
NO_ROPE_PERIOD = 4


def llama4(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED)
    if hp.has("attention.sliding_window") and not common.window:
        raise UnsupportedModelError("llama4.attention.sliding_window is 0, which is not supported: expected none")
    routing = replace(read_routing(hp, scores=Scores.SIGMOID), weighs_input=True)
    n_ff = hp.integer("expert_feed_forward_length")
    experts = ExpertFFN(routing, n_ff, shared=GatedFFN(n_ff, suffix="_shexp"))
    near = common.rope_of(base=hp.number("rope.freq_base_swa", common.rope_of().base))
    qk_norm = None if routing.n_experts == UNNORMALISED_EXPERTS else "bare"
    growth = growing(hp, period=STRETCH, slope=TEMPERATURE, offset=1)
    step = hp.integer("interleave_moe_layer_step", least=0)
    layers = []
    for layer, has_stretch in enumerate(layers_with_window(hp, common.n_layers, default_period=4)):
        parts: dict[str, object] = {"window": STRETCH if has_stretch else 0, "span": Span.CHUNK}
        if not has_stretch:
            parts["span"] = Span.CAUSAL
        if (layer + 1) % NO_ROPE_PERIOD:
            rope = near if has_stretch else common.rope
            parts |= {"qk_norm": qk_norm, "norm_after_rope": True, "rope": rope}
        else:
            parts |= {"rope": None, "query_scale": growth}
        ffn = experts if step and (layer + 1) % step == 0 else GatedFFN(common.n_ff)
        layers.append(Layer(common.attention(**parts), ffn))
    return common.decoder(layers)
