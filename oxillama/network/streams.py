"""Several streams that run through a network side by side (AltUp, Baykal et al. 2023, arXiv:2301.13310): stretches of
one width in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oxillama.network.graph import Call, Graph, Node, Value

MAX_STREAMS = 6


@dataclass(frozen=True, eq=False)
class JoinStreams(Node):
    kind = "join_streams"

    def call(self) -> Call:
        return Call(parameters={"n": len(self.reads)})


def join_streams(graph: Graph, streams: Sequence[Value]) -> Value:
    """At most MAX_STREAMS values of one width as the streams of one."""
    x = streams[0]
    return graph.append(JoinStreams(reads=tuple(streams), writes=(x.like(len(streams) * x.width),)))


@dataclass(frozen=True, eq=False)
class MatchMagnitude(Node):
    kind = "match_magnitude"


def match_magnitude(graph: Graph, x: Value, of: Value) -> Value:
    """x, made as long as the other."""
    return graph.append(MatchMagnitude(reads=(x, of), writes=(x.like(x.width),)))


@dataclass(frozen=True, eq=False)
class MixStreams(Node):
    kind = "mix_streams"
    n: int

    def call(self) -> Call:
        return Call(parameters={"n": self.n})


def mix_streams(graph: Graph, streams: Value, factors: Value, *, n: int) -> Value:
    """Each of n streams plus all of them times factors, of which it has n."""
    return graph.append(MixStreams(reads=(streams, factors), writes=(streams.like(streams.width),), n=n))


@dataclass(frozen=True, eq=False)
class AddToStreams(Node):
    kind = "add_to_streams"
    n: int
    begin: int

    def call(self) -> Call:
        return Call(parameters={"n": self.n, "begin": self.begin, "weighs": len(self.reads) == 3})


def add_to_streams(
    graph: Graph, streams: Value, x: Value, *, n: int, begin: int = 0, weights: Value | None = None
) -> Value:
    """n streams, to all of which from `begin` on x is added: one more time than its weight says, if there are such."""
    reads = (streams, x) if weights is None else (streams, x, weights)
    return graph.append(AddToStreams(reads=reads, writes=(streams.like(streams.width),), n=n, begin=begin))


@dataclass(frozen=True, eq=False)
class AboveDeviations(Node):
    kind = "above_deviations"
    factor: float

    def call(self) -> Call:
        return Call(parameters={"factor": self.factor})


def above_deviations(graph: Graph, x: Value, factor: float) -> Value:
    """What each value has above the row's mean and `factor` standard deviations, else 0."""
    return graph.append(AboveDeviations(reads=(x,), writes=(x.like(x.width),), factor=factor))
