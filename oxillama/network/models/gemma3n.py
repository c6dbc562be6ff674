"""Gemma 3n (Google DeepMind 2025, https://ai.google.dev/gemma/docs/gemma-3n): Gemma 3's layers between streams of which
each layer works on one and predicts the others (AltUp, arXiv:2301.13310), a low-rank branch beside attention (LAuReL,
arXiv:2411.07501), sparse gates, embeddings of each layer, and keys and values that later layers share."""

from __future__ import annotations

import math
from dataclasses import dataclass

from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.models.attention import SelfAttention
from oxillama.network.models.common import Common, layers_with_window
from oxillama.network.models.decoder import Building, Norm
from oxillama.network.models.gemma4 import shared_layer
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.per_layer import LayerInput, LayerInputs
from oxillama.network.models.rope import RopeScaling
from oxillama.network.models.rope_tables import RopeTables
from oxillama.network.operations import GELU_TANH, TANH, RopeLayout
from oxillama.network.streams import (
    MAX_STREAMS,
    above_deviations,
    add_to_streams,
    join_streams,
    match_magnitude,
    mix_streams,
)

LAUREL_RANK = 64  # files do not say it
# Where a file does not say how many deviations above the mean the gates of a layer open: so many in so many layers.
SPARSE_LAYERS, DEVIATIONS = 10, 1.6448534
HALF = 0.5**0.5


@dataclass(frozen=True)
class Block:
    """One layer. deviations: gates open above so many from their mean; 0 for gates that always do."""

    attention: SelfAttention
    layer_input: LayerInput
    n_ff: int
    deviations: float
    n_streams: int
    active: int  # the stream that it works on

    def build(self, building: Building, streams: Value) -> Value:
        graph, block, n = building.graph, building.block, self.n_streams
        routes = self._routes(building, self._active(building, streams))
        factors = op.linear(graph, routes, f"{block}.altup_predict_coef", width=n * n)
        predicted = mix_streams(graph, streams, factors, n=n)
        x = self._active(building, predicted)
        made = self._work(building, x)
        routes = self._routes(building, made)
        weights = op.linear(graph, routes, f"{block}.altup_correct_coef", width=n)
        news = op.add_scaled(graph, made, x, -1.0)
        streams = add_to_streams(graph, predicted, news, n=n, weights=weights)
        scaled = op.scale_elements(graph, self._active(building, streams), f"{block}.altup_correct_scale.weight")
        return add_to_streams(graph, streams, self.layer_input.build(building, scaled), n=n, begin=1)

    def _active(self, building: Building, streams: Value) -> Value:
        width = streams.width // self.n_streams
        return op.slice_columns(building.graph, streams, offset=self.active * width, width=width)

    def _routes(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        read = op.scale(graph, building.normalise(x, f"{block}.altup_router_norm"), 1 / x.width)
        return op.activate(graph, op.linear(graph, read, f"{block}.altup_router", width=self.n_streams), TANH)

    def _work(self, building: Building, x: Value) -> Value:
        """Attention beside the low-rank branch, then the feed-forward network."""
        graph, block = building.graph, building.block
        read = building.normalise(x, f"{block}.attn_norm")
        low = op.linear(graph, read, f"{block}.laurel_l", width=LAUREL_RANK)
        low = building.normalise(op.linear(graph, low, f"{block}.laurel_r", width=x.width), f"{block}.laurel_post_norm")
        branch = op.add(graph, low, read)
        attended = building.normalise(self.attention.build(building, read), f"{block}.post_attention_norm")
        x = op.scale(graph, op.add(graph, op.add(graph, attended, x), branch), HALF)
        read = building.normalise(x, f"{block}.ffn_norm")
        gate = op.linear(graph, read, f"{block}.ffn_gate", width=self.n_ff)
        up = op.linear(graph, read, f"{block}.ffn_up", width=self.n_ff)
        if self.deviations:
            gate = above_deviations(graph, gate, self.deviations)
        fed = op.linear(graph, op.gated(graph, gate, up, GELU_TANH), f"{block}.ffn_down", width=x.width)
        return op.add(graph, building.normalise(fed, f"{block}.post_ffw_norm"), x)


@dataclass(frozen=True)
class Gemma3n:
    """The streams are the embedding and what products make of it, all of one length; at the end they are added up."""

    n_vocab: int
    n_ctx_train: int
    width: int
    norm: Norm
    layer_inputs: LayerInputs
    blocks: tuple[Block, ...]
    n_streams: int
    soft_cap: float

    def build(self, graph: Graph) -> None:
        building = Building(graph, self.norm, RopeTables(graph))
        x = op.scale(graph, op.embed(graph, "token_embd", n_vocab=self.n_vocab, width=self.width), self.width**0.5)
        building.layer_inputs = self.layer_inputs.build(building, x)
        streams = join_streams(graph, [x, *(self._twin(graph, x, x, "altup_proj", i) for i in range(self._others))])
        for building.layer, block in enumerate(self.blocks):
            streams = block.build(building, streams)
        streams = op.select(graph, streams)
        x, *others = (
            op.slice_columns(graph, streams, offset=i * self.width, width=self.width) for i in range(self.n_streams)
        )
        total = x
        for i, other in enumerate(others):
            total = op.add(graph, total, self._twin(graph, other, x, "altup_unembd_proj", i))
        x = building.normalise(op.scale(graph, total, 1 / self.n_streams), "output_norm")
        head = "output" if graph.has("output.weight") else "token_embd"
        logits = op.linear(graph, op.hidden(graph, x), head, width=self.n_vocab)
        if self.soft_cap:
            logits = op.activate(graph, logits, op.Activation("soft_cap", (self.soft_cap,)))
        graph.output(logits)

    @property
    def _others(self) -> int:
        return self.n_streams - 1

    def _twin(self, graph: Graph, x: Value, of: Value, name: str, index: int) -> Value:
        made = op.linear_of_stack(graph, x, name, index, width=self.width, stack=self._others)
        return match_magnitude(graph, made, of)


def gemma3n(hp: Hyperparameters, graph: Graph) -> Gemma3n:
    common = Common.read(hp.at(0), graph, layout=RopeLayout.HALVES)
    n_layers, width = common.n_layers, hp.integer("embedding_length_per_layer_input")
    windowed = layers_with_window(hp, n_layers, default_period=5)
    n_own = n_layers - hp.integer("attention.shared_kv_layers", 0, least=0, most=n_layers - 1)
    n_streams = hp.integer("altup.num_inputs", least=2, most=MAX_STREAMS)
    # What the last layers add to behind the first stream, the network takes the first for.
    hp.expect("altup.active_idx", 0)
    near = common.rope_of(base=hp.number("rope.freq_base_swa", 10000.0), scaling=RopeScaling.none(), factors=None)
    window = hp.integer("attention.sliding_window")
    deviations = _deviations(hp, n_layers)
    blocks = [
        Block(
            attention=common.attention(
                scale=1.0,
                rope=near if windowed[layer] else common.rope,
                window=window if windowed[layer] else 0,
                qk_norm="head",
                v_norm=True,
                kv_layer=shared_layer(hp, graph, layer, windowed, n_own),
            ),
            layer_input=LayerInput(width),
            n_ff=hp.at(layer).integer("feed_forward_length"),
            deviations=deviations[layer],
            n_streams=n_streams,
            active=0,
        )
        for layer in range(n_layers)
    ]
    return Gemma3n(
        n_vocab=common.n_vocab,
        n_ctx_train=common.n_ctx_train,
        width=common.width,
        norm=common.norm,
        layer_inputs=LayerInputs(width, n_layers, common.n_vocab),
        blocks=tuple(blocks),
        n_streams=n_streams,
        soft_cap=hp.number("final_logit_softcapping", 30.0),
    )


def _deviations(hp: Hyperparameters, n_layers: int) -> list[float]:
    name = "activation_sparsity_scale"
    if not hp.has(name):
        return [DEVIATIONS if layer < SPARSE_LAYERS else 0.0 for layer in range(n_layers)]
    # Minus infinity deviations, as some layers have it, are below everything.
    return [0.0 if x == -math.inf else x for x in hp.numbers(name, n_layers, infinite=True)]
