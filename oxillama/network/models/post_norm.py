"""Layers in the order of the first transformers: a norm behind each sum."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network import operations as op
from oxillama.network.graph import Value
from oxillama.network.models.decoder import Building, Part


@dataclass(frozen=True)
class PostNormLayer:
    """norm(x + mixer(x)), then norm(x + ffn(x)) (Vaswani et al. 2017, arXiv:1706.03762). rejoin_norm: the name of a
    norm of the first of these and x together, in between."""

    mixer: Part
    ffn: Part
    rejoin_norm: str | None = None

    def build(self, building: Building, x: Value) -> Value:
        graph, block = building.graph, building.block
        building.residual = x
        mixed = building.leave(self.mixer.build(building, x))
        x = building.residual
        y = building.normalise(op.add(graph, x, mixed), f"{block}.attn_output_norm")
        if self.rejoin_norm:
            y = building.normalise(op.add(graph, x, y), f"{block}.{self.rejoin_norm}")
        return building.normalise(op.add(graph, y, self.ffn.build(building, y)), f"{block}.layer_output_norm")
