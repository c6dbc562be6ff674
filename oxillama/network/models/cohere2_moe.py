"""Command with experts (Cohere 2026): attention and network read the same, windows have positions, the first layer of
four attends everything, without positions unless it is a leading dense one."""

from __future__ import annotations

from dataclasses import replace

from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import after_dense, read_experts
from oxillama.network.operations import RopeLayout


def cohere2_moe(hp: Hyperparameters, graph: Graph) -> Decoder:
    norm = "rms" if hp.has("attention.layer_norm_rms_epsilon") else "layer"
    common = Common.read(hp, graph, layout=RopeLayout.INTERLEAVED, norm=norm)
    experts = read_experts(hp, common, scores=Scores.SIGMOID)
    if hp.integer("expert_shared_count", 0, least=0):
        experts = replace(experts, scale=0.5)
    else:
        experts = replace(experts, shared=None)
    n_dense = hp.integer("leading_dense_block_count", least=0)
    layers = []
    for layer, ffn in enumerate(after_dense(hp, common, experts)):
        has_window = _has_window(hp, common, layer)
        attention = common.attention(
            window=common.window if has_window else 0,
            rope=common.rope if has_window or layer < n_dense else None,
        )
        layers.append(Layer(attention, ffn, ffn_norm=None, parallel=True))
    scale = hp.number("logit_scale", positive=False)
    return common.decoder(layers, logit_scale=scale or 1.0)


def _has_window(hp: Hyperparameters, common: Common, layer: int) -> bool:
    """By attention.sliding_window_pattern, an array of truths or a period, of which the first attends everything."""
    name = "attention.sliding_window_pattern"
    if hp.is_array(name):
        return hp.truths(name, common.n_layers)[layer]
    period = hp.integer(name, 4, least=0)
    return period == 0 or layer % period != 0
