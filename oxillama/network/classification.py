"""Operations of networks that read pairs of texts and say what they are."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network.graph import Graph, Node, RowSpace, Value
from oxillama.network.operations import Embed


@dataclass(frozen=True, eq=False)
class EmbedSegment(Embed):
    kind = "embed_segment"


def embed_segment(graph: Graph, name: str, *, n_segments: int, width: int) -> Value:
    """The table's row of the text that a token belongs to, where a prompt is a pair: 0 or 1."""
    table = graph.table(name, rows=n_segments, width=width)
    return graph.append(EmbedSegment(reads=(), writes=(Value(width, RowSpace.TOKENS),), table=table))


@dataclass(frozen=True, eq=False)
class Softmax(Node):
    kind = "softmax"


def softmax(graph: Graph, x: Value) -> Value:
    """Of each row."""
    return graph.append(Softmax(reads=(x,), writes=(x.like(x.width),)))
