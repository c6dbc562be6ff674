"""Convolutions over the last tokens of a sequence: a part of most recurrent mixers, and LFM2's whole mixer."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.models.decoder import Building
from oxillama.network.recurrence import causal_convolution


def convolve(graph: Graph, x: Value, name: str, *, n_taps: int) -> Value:
    """By `name`.weight, [n_taps] of each channel, and `name`.bias where the file has one."""
    taps = graph.array(f"{name}.weight", (n_taps, x.width)).T
    bias = graph.vector(f"{name}.bias", x.width) if graph.has(f"{name}.bias") else None
    return causal_convolution(graph, x, taps, bias=bias)


@dataclass(frozen=True)
class ShortConvolution:
    """c * convolution(b * x), all three projections of a token (LFM2: Liquid AI 2025, arXiv:2511.23404)."""

    n_taps: int

    def build(self, building: Building, x: Value) -> Value:
        graph, block, width = building.graph, building.block, x.width
        before, after, values = (
            op.linear(graph, x, f"{block}.shortconv.in_proj", width=width, ranges=(range(i, i + width),), of=3 * width)
            for i in (0, width, 2 * width)
        )
        h = convolve(graph, op.multiply(graph, before, values), f"{block}.shortconv.conv", n_taps=self.n_taps)
        h = op.multiply(graph, building.leave(h), building.leave(after))
        return op.linear(graph, h, f"{block}.shortconv.out_proj", width=width)
