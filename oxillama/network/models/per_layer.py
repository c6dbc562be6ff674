"""Embeddings of each layer (Gemma 3n, https://ai.google.dev/gemma/docs/gemma-3n): besides what runs through the network
each layer reads a row of its own for the token."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network import operations as op
from oxillama.network.graph import Value
from oxillama.network.models.decoder import Building
from oxillama.network.operations import GELU_TANH


@dataclass(frozen=True)
class LayerInputs:
    """What each layer reads: its row of the token, and what a product makes of the token's embedding; `width` values of
    each of n_layers, one layer after another."""

    width: int
    n_layers: int
    n_vocab: int

    def build(self, building: Building, x: Value) -> Value:
        graph, width = building.graph, self.width * self.n_layers
        rows = op.embed(graph, "per_layer_token_embd", n_vocab=self.n_vocab, width=width)
        rows = op.scale(graph, rows, self.width**0.5)
        made = op.scale(graph, op.linear(graph, x, "per_layer_model_proj", width=width), x.width**-0.5)
        made = building.normalise(made, "per_layer_proj_norm", n_heads=self.n_layers)
        return op.scale(graph, op.add(graph, made, rows), 0.5**0.5)


@dataclass(frozen=True)
class LayerInput:
    """A part of a layer: the layer's input, gated by what runs through the network."""

    width: int

    def build(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        if building.layer_inputs is None:
            raise ValueError("the network makes no inputs of layers")
        row = op.slice_columns(graph, building.layer_inputs, offset=building.layer * self.width, width=self.width)
        gate = op.linear(graph, x, f"{block}.inp_gate", width=self.width)
        h = op.gated(graph, gate, building.leave(row), GELU_TANH)
        return building.normalise(op.linear(graph, h, f"{block}.proj", width=x.width), f"{block}.post_norm")
