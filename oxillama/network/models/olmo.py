"""OLMo (Groeneveld et al. 2024, arXiv:2402.00838): norms without weights. OLMo 2 and 3 (OLMo team 2025,
arXiv:2501.00656): norms behind each part and of all queries and all keys, in the third with windows."""

from __future__ import annotations

from dataclasses import replace

from oxillama.network.graph import Graph
from oxillama.network.models.common import Common, layers_with_window
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.rope import RopeScaling
from oxillama.network.operations import RopeLayout


def olmo(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED, norm="layer")
    common = replace(common, norm=replace(common.norm, weights=False))
    return common.decoder([Layer(common.attention(), GatedFFN(common.n_ff))] * common.n_layers)


def olmo2(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp, graph, layout=RopeLayout.HALVES)
    windowed = [False] * common.n_layers
    if common.window:
        windowed = layers_with_window(hp, common.n_layers, default_period=4)
    # Layers with a window see nothing that would need a longer context.
    base = hp.number("rope.freq_base_swa", common.rope_of().base)
    near = common.rope_of(base=base, scaling=RopeScaling.none(), factors=None)
    layers = [
        Layer(
            common.attention(qk_norm="row", **({"rope": near} if has_window else {"window": 0})),
            GatedFFN(common.n_ff),
            mixer_norm=None,
            mixer_post_norm="post_attention_norm",
            ffn_norm=None,
            ffn_post_norm="post_ffw_norm",
        )
        for has_window in windowed
    ]
    return common.decoder(layers)
