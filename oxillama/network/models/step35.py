"""Step-3.5-Flash (StepFun 2026): layers with and without a window differ in heads and in how much of them rotates, each
head's result has a gate, and some networks have bounds."""

from __future__ import annotations

from dataclasses import replace

from oxillama.errors import ModelLoadError
from oxillama.network.experts import Scores
from oxillama.network.graph import Graph
from oxillama.network.models.common import Common
from oxillama.network.models.decoder import Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.mixture import read_experts
from oxillama.network.models.rope import RopeScaling
from oxillama.network.models.rope_tables import Rope
from oxillama.network.operations import RopeLayout


def step35(hp: Hyperparameters, graph: Graph) -> Decoder:
    common = Common.read(hp.at(0), graph, layout=RopeLayout.HALVES)
    full, near = _rotations(hp, common)
    hp.irrelevant("leading_dense_block_count")  # the tensors say which layers have experts
    window = hp.integer("attention.sliding_window")
    bounds = hp.numbers("swiglu_clamp_exp", common.n_layers, 0.0)
    shared_bounds = hp.numbers("swiglu_clamp_shexp", common.n_layers, 0.0)
    layers = []
    for layer, has_window in enumerate(hp.truths("attention.sliding_window_pattern", common.n_layers)):
        own = Common.read(hp.at(layer), graph, layout=RopeLayout.HALVES)
        attention = own.attention(
            window=window if has_window else 0,
            rope=near if has_window else full,
            qk_norm="head" if graph.has(f"blk.{layer}.attn_q_norm.weight") else None,
            gate="head" if graph.has(f"blk.{layer}.attn_gate.weight") else None,
        )
        if graph.has(f"blk.{layer}.ffn_gate_inp.weight"):
            experts = read_experts(hp.at(layer), own, scores=Scores.SIGMOID, shared_bound=shared_bounds[layer])
            layers.append(Layer(attention, replace(experts, bound=bounds[layer])))
        else:
            layers.append(Layer(attention, GatedFFN(own.n_ff, bound=shared_bounds[layer])))
    return common.decoder(layers)


def _rotations(hp: Hyperparameters, common: Common) -> tuple[Rope, Rope]:
    """Of layers without a window, which rotate half of what the file says, and of those with one."""
    whole = common.rope_of()
    if whole.dims % 4:
        raise ModelLoadError(f"{hp.architecture}.rope.dimension_count is {whole.dims}, expected a multiple of 4")
    n_near = hp.integer("rope.dimension_count_swa", whole.dims, most=common.k_dim)
    if n_near % 2:
        raise ModelLoadError(f"{hp.architecture}.rope.dimension_count_swa is {n_near}, expected an even number")
    near = replace(whole, dims=n_near, base=hp.number("rope.freq_base_swa", 10000.0), scaling=RopeScaling.none())
    n_factors = max(whole.dims // 2, n_near) // 2
    return replace(whole, dims=whole.dims // 2, n_factors=n_factors), replace(near, factors=None)
