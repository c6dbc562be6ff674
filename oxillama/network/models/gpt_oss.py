"""gpt-oss (OpenAI 2025, arXiv:2508.10925): sinks, a window in every other layer, experts with biases."""

from __future__ import annotations

from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common, layers_with_window
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_routing
from oxillama.network.operations import Activation, RopeLayout

SWIGLU = Activation("swiglu_clamped", (1.702, 7.0))


def gpt_oss(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    near = common.rope_of(base=hp.number("rope.freq_base_swa", common.rope_of().base))
    routing = read_routing(hp, scores=Scores.CHOSEN_SOFTMAX)
    experts = ExpertFFN(routing, hp.integer("expert_feed_forward_length", common.n_ff), SWIGLU)
    full = common.attention(has_sinks=True, window=0)
    windowed = common.attention(has_sinks=True, window=hp.integer("attention.sliding_window"), rope=near)
    return common.decoder(
        [
            Layer(windowed if has_window else full, experts, ffn_norm="post_attention_norm")
            for has_window in layers_with_window(hp, common.n_layers, default_period=2)
        ]
    )
