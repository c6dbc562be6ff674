"""What a layer needs to know of rotary position embeddings, and the tables of a network, each made once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from oxillama.errors import UnsupportedModelError
from oxillama.network import operations as op
from oxillama.network.graph import Graph, Value
from oxillama.network.models.rope import RopeScaling, inverse_frequencies
from oxillama.network.operations import RopeLayout


@dataclass(frozen=True)
class Rope:
    """`dims` elements of each head, from `offset` on, rotate with frequencies from `base` down. factors: the name of a
    tensor whose first dims / 2 values divide them; n_factors: how many it has, 0 for just these."""

    layout: RopeLayout
    dims: int
    base: float
    scaling: RopeScaling
    factors: str | None = None
    offset: int = 0
    n_factors: int = 0


class RopeTables:
    """The tables of cosines and sines of one network."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._tables: dict[Rope, Value] = {}

    def rotate(self, x: Value, rope: Rope, *, n_heads: int) -> Value:
        """x, rotated in place."""
        head_dim = x.width // n_heads
        if rope.dims % 2 or rope.offset + rope.dims > head_dim:
            raise UnsupportedModelError(
                f"by rope.dimension_count {rope.dims} values of a head rotate, from {rope.offset} on; expected an even "
                f"number within {head_dim}"
            )
        return op.rope(self._graph, x, self._table(rope), layout=rope.layout, n_heads=n_heads, offset=rope.offset)

    def _table(self, rope: Rope) -> Value:
        # Layouts and offsets share their table.
        key = replace(rope, layout=RopeLayout.HALVES, offset=0)
        if key not in self._tables:
            graph = self._graph
            n = rope.dims // 2
            factors = graph.constant(rope.factors, rope.n_factors or n)[:n] if rope.factors else None
            self._tables[key] = op.rope_table(graph, *inverse_frequencies(rope.dims, rope.base, rope.scaling, factors))
        return self._tables[key]
