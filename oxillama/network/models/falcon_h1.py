"""Falcon-H1 (TII 2025, arXiv:2507.22448): attention and Mamba-2 side by side in each layer. Its multipliers are part of
the weights in the file."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.models.attention import SelfAttention
from oxillama.network.models.decoder import Building, Decoder, Layer
from oxillama.network.models.feed_forward import GatedFFN
from oxillama.network.models.hyperparameters import Hyperparameters
from oxillama.network.models.recurrent.mamba import Mamba2
from oxillama.network.models.recurrent.sizes import StateSpace, read_layers
from oxillama.network.operations import RopeLayout
from oxillama.network.recurrence import multiply_constant


@dataclass(frozen=True)
class SideBySide:
    """The sum of two mixers of the same input."""

    attention: SelfAttention
    mamba: Mamba2

    def build(self, building: Building, x: Value) -> Value:
        made = self.attention.build(building, x)
        return op.add(building.graph, made, self.mamba.build(building, x))


@dataclass(frozen=True)
class NormalisedFFN:
    """A feed-forward network behind a norm whose tensor is `ffn_norm`, without a suffix, in files of this family."""

    ffn: GatedFFN

    def build(self, building: Building, x: Value) -> Value:
        graph, name = building.graph, f"{building.block}.ffn_norm"
        if graph.has(f"{name}.weight"):
            return self.ffn.build(building, building.normalise(x, name))
        x = op.rms_norm(graph, x, None, epsilon=building.norm.epsilon)
        return self.ffn.build(building, multiply_constant(graph, x, graph.vector(name, x.width)))


def falcon_h1(hp: Hyperparameters, graph: Graph) -> Decoder:
    common, sizes = read_layers(hp, graph, layout=RopeLayout.HALVES)
    mamba = Mamba2(StateSpace.read(hp, grouped=True))
    layers = [
        Layer(
            SideBySide(common.attention(n_heads=size.n_head, n_head_kv=size.n_head_kv), mamba),
            NormalisedFFN(GatedFFN(size.n_ff)),
            ffn_norm=None,
        )
        for size in sizes
    ]
    return common.decoder(layers)
