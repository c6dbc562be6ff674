"""MiMo-V2-Flash (Xiaomi 2026): layers with a window have sinks and other numbers of heads, values are narrower."""

from __future__ import annotations

from dataclasses import replace

from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import ExpertFFN, GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_experts
from oxillama.network.models.rope import RopeScaling
from oxillama.network.operations import RopeLayout


def mimo2(hp: Hyperparameters, graph: Graph) -> Decoder:
    wholes = [Common.read(hp.at(0), graph, layout=RopeLayout.HALVES)]
    common = wholes[0]
    wholes += [Common.read(hp.at(layer), graph, layout=RopeLayout.HALVES) for layer in range(1, common.n_layers)]
    near = common.rope_of(base=hp.number("rope.freq_base_swa", 10000.0), scaling=RopeScaling.none())
    window = hp.integer("attention.sliding_window")
    hp.irrelevant("leading_dense_block_count")  # the tensors say which layers have experts
    output_scale = hp.number("attention.value_scale", 1.0)
    layers = []
    for layer, has_window in enumerate(hp.truths("attention.sliding_window_pattern", common.n_layers)):
        attention = wholes[layer].attention(
            window=window if has_window else 0,
            rope=near if has_window else common.rope,
            has_sinks=graph.has(f"blk.{layer}.attn_sinks.weight"),
            output_scale=output_scale,
        )
        layers.append(Layer(attention, _feed_forward(hp, graph, wholes[layer], layer)))
    return common.decoder(layers)


def _feed_forward(hp: Hyperparameters, graph: Graph, common: Common, layer: int) -> GatedFFN | ExpertFFN:
    if not graph.has(f"blk.{layer}.ffn_gate_inp.weight"):
        return GatedFFN(common.n_ff)
    experts = read_experts(hp.at(layer), common, is_shared=False)
    # Whatever files say of these.
    return replace(experts, routing=replace(experts.routing, scores=Scores.SIGMOID, renormalises=True))
