"""Gemma 4 (Google DeepMind 2026, https://ai.google.dev/gemma/docs/core): Gemma 3's layers with values normalised, sizes
that differ from layer to layer, keys and values that later layers share, embeddings of each layer, and experts beside
the dense network."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.network import operations as op
from oxillama.network.experts import Routing, expert_ffn, route
from oxillama.network.graph import Graph, Value
from oxillama.network.models.common import Common, layers_with_window
from oxillama.network.models.decoder import Building, Decoder, Layer, Part
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.per_layer import LayerInput, LayerInputs
from oxillama.network.models.rope import RopeScaling
from oxillama.network.operations import GELU_TANH, RopeLayout


@dataclass(frozen=True)
class DenseAndExperts:
    """A dense network and a mixture of experts, each between norms of its own. The router reads what neither reads."""

    dense: GatedFFN
    routing: Routing
    n_ff: int

    def build(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        made = self.dense.build(building, building.normalise(x, f"{block}.ffn_norm"))
        made = building.normalise(made, f"{block}.post_ffw_norm_1")
        read = op.scale(graph, op.rms_norm(graph, x, None, epsilon=building.norm.epsilon), x.width**-0.5)
        read = op.scale_elements(graph, read, f"{block}.ffn_gate_inp.scale")
        scores = op.linear(graph, read, f"{block}.ffn_gate_inp", width=self.routing.n_experts)
        choice = route(graph, scores, self.routing)
        read = building.normalise(x, f"{block}.pre_ffw_norm_2")
        mixed = expert_ffn(graph, read, choice, block, self.routing, n_ff=self.n_ff, function=GELU_TANH)
        return op.add(graph, made, building.normalise(mixed, f"{block}.post_ffw_norm_2"))


def gemma4(hp: Hyperparameters, graph: Graph) -> Decoder:
    n_layers = Common.read(hp.at(0), graph, layout=RopeLayout.HALVES).n_layers
    windowed = layers_with_window(hp, n_layers, default_period=6)
    commons = [Common.read(hp.at(layer), graph, layout=RopeLayout.HALVES) for layer in range(n_layers)]
    common = commons[0]
    n_own = n_layers - hp.integer("attention.shared_kv_layers", 0, least=0, most=n_layers - 1)
    per_layer = hp.integer("embedding_length_per_layer_input", 0, least=0)
    layers = [
        Layer(
            _attention(hp, graph, commons[layer], layer, windowed, n_own),
            feed_forward := _feed_forward(hp, graph, commons[layer], layer),
            mixer_post_norm="post_attention_norm",
            ffn_norm=None if isinstance(feed_forward, DenseAndExperts) else "ffn_norm",
            ffn_post_norm="post_ffw_norm",
            extra=LayerInput(per_layer) if per_layer else None,
            output_scale="layer_output_scale",
        )
        for layer in range(n_layers)
    ]
    return common.decoder(
        layers,
        embedding_scale=common.width**0.5,
        layer_inputs=LayerInputs(per_layer, n_layers, common.n_vocab) if per_layer else None,
        logit_soft_cap=hp.number("final_logit_softcapping", 0.0, positive=False),
    )


def shared_layer(hp: Hyperparameters, graph: Graph, layer: int, windowed: list[bool], n_own: int) -> int | None:
    """The layer whose keys and values a layer reads: for those behind the first n_own the last of these that is of the
    same kind, for the others None."""
    if layer < n_own:
        return None
    same = [other for other in range(n_own) if windowed[other] is windowed[layer]]
    if not same:
        raise UnsupportedModelError(
            f"{hp.architecture}.attention.shared_kv_layers is {len(windowed) - n_own}: no layer of the same kind has "
            f"keys and values that layer {layer} could share"
        )
    graph.leave_out(*(f"blk.{layer}.{name}." for name in ("attn_k", "attn_v", "attn_k_norm")))
    return same[-1]


def _attention(hp: Hyperparameters, graph: Graph, common: Common, layer: int, windowed: list[bool], n_own: int) -> Part:
    k_dim, v_dim, rope, window = common.k_dim, common.v_dim, common.rope_of(), 0
    if windowed[layer]:
        k_dim, v_dim = hp.integer("attention.key_length_swa", k_dim), hp.integer("attention.value_length_swa", v_dim)
        n_near = hp.integer("rope.dimension_count_swa", k_dim, most=k_dim)
        if n_near % 2:
            raise ModelLoadError(f"{hp.architecture}.rope.dimension_count_swa is {n_near}, expected an even number")
        rope = common.rope_of(
            dims=n_near,
            base=hp.number("rope.freq_base_swa", 10000.0),
            scaling=RopeScaling.none(),
            factors=None,
        )
        window = hp.integer("attention.sliding_window")
    fused = graph.has(f"blk.{layer}.attn_qkv.weight")
    return common.attention(
        k_dim=k_dim,
        v_dim=v_dim,
        scale=1.0,
        rope=rope,
        window=window,
        qk_norm="head",
        v_norm=True,
        kv_layer=(kv_layer := shared_layer(hp, graph, layer, windowed, n_own)),
        v_is_k=kv_layer is None and not fused and not graph.has(f"blk.{layer}.attn_v.weight"),
    )


def _feed_forward(hp: Hyperparameters, graph: Graph, common: Common, layer: int) -> GatedFFN | DenseAndExperts:
    dense = GatedFFN(common.n_ff, GELU_TANH)
    n_experts = hp.integer("expert_count", 0, least=0)
    if not n_experts or not graph.has(f"blk.{layer}.ffn_gate_inp.weight"):
        return dense
    routing = Routing(n_experts, hp.at(layer).integer("expert_used_count", most=n_experts))
    return DenseAndExperts(dense, routing, hp.at(layer).integer("expert_feed_forward_length"))
