"""EXAONE 4 (LG AI Research 2025, arXiv:2507.11407): norms behind each part instead of before it, each head of queries
and keys normalised; the large one with windows, whose other layers have no positions. EXAONE 3 is Qwen 2 without
biases."""

from __future__ import annotations

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common, layers_with_window
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.operations import RopeLayout

# Files of the small sizes may name a window that these have not.
WINDOWED_LAYERS = 64
WINDOW = 4096


def exaone4(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    windowed = [False] * common.n_layers
    if common.n_layers == WINDOWED_LAYERS:
        windowed = layers_with_window(hp, common.n_layers, default_period=4)
    hp.irrelevant("attention.sliding_window_pattern")
    near = common.rope_of(base=hp.number("rope.freq_base_swa", common.rope_of().base))
    layers = []
    for has_window in windowed:
        rope = near if has_window else None if any(windowed) else common.rope
        window = common.window or WINDOW if has_window else 0
        layers.append(
            Layer(
                common.attention(qk_norm="head", rope=rope, window=window),
                GatedFFN(common.n_ff),
                mixer_norm=None,
                mixer_post_norm="post_attention_norm",
                ffn_norm=None,
                ffn_post_norm="post_ffw_norm",
            )
        )
    return common.decoder(layers)
