"""Attention with a learned bias for each distance between two tokens, where distances that are far share one (Raffel
et al. 2019, arXiv:1910.10683, section 2.1)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from oxillama.errors import UnsupportedModelError
from oxillama.network.graph import Call, Graph, Node, Value

# Distances from here on share the last bucket. No file says another.
FARTHEST = 128
# Of a description: a side has its half of the buckets, and half of these are single distances.
MOST_BUCKETS = 2 * FARTHEST


@dataclass(frozen=True, eq=False)
class RelativeAttention(Node):
    kind = "relative_attention"
    n_heads: int
    biases: npt.NDArray[np.float32]

    def call(self) -> Call:
        return Call(
            vectors=(self.biases.reshape(-1),), parameters={"n_heads": self.n_heads, "reach": self.biases.shape[1] // 2}
        )


def relative_attention(graph: Graph, q: Value, k: Value, v: Value, biases: npt.NDArray[np.float32]) -> Value:
    """Each token attends its whole sequence; scores are not scaled. biases: float32 [n_heads, 2 reach + 1], what a
    score gets for a key that stands so far from the query, -reach to reach; farther ones get those at the ends."""
    n_heads = len(biases)
    if q.width % n_heads or q.width != k.width or v.width % n_heads:
        raise UnsupportedModelError(
            f"queries, keys and values are {q.width}, {k.width} and {v.width} wide, for {n_heads} heads"
        )
    graph.looks_ahead = True
    node = RelativeAttention(reads=(q, k, v), writes=(q.like(v.width),), n_heads=n_heads, biases=biases)
    return graph.append(node)


def distance_biases(table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """table: float32 [n_buckets, n_heads]; returned: float32 [n_heads, 2 reach + 1], by distance of the key from the
    query."""
    buckets = [bucket_of(distance, len(table)) for distance in range(-FARTHEST, FARTHEST + 1)]
    return np.ascontiguousarray(table[buckets].T)


def bucket_of(distance: int, n_buckets: int) -> int:
    """The first half of the buckets is of keys before the query, or at it; of each half the first half are single
    distances, and the others grow by one factor up to FARTHEST."""
    if n_buckets % 4 or not 4 <= n_buckets <= MOST_BUCKETS:
        raise UnsupportedModelError(f"{n_buckets} relative buckets, supported are multiples of 4 up to {MOST_BUCKETS}")
    side, single = n_buckets // 2, n_buckets // 4
    first, far = (side if distance > 0 else 0), abs(distance)
    if far < single:
        return first + far
    # floor(log(far / single) / log(FARTHEST / single) * n), in integers: what rounding does to logarithms at the
    # border of two buckets is nobody's business.
    n = side - single
    growth, ratio = Fraction(far, single) ** n, Fraction(FARTHEST, single)
    bucket = 0
    while bucket + 1 < n and growth >= ratio ** (bucket + 1):
        bucket += 1
    return first + single + bucket
