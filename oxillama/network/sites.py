"""Where a network multiplies with its matrices: what adapters are matched with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oxillama.network.graph import Matrix, Node
from oxillama.network.operations import Embed

EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"
# Tensors whose rows are looked up: an adapter's A has a row of `rank` values for each of theirs.
TABLES = (EMBEDDING, "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight")


@dataclass(frozen=True)
class Site:
    """An operation with matrices. is_table: rows of the one matrix are looked up, not multiplied."""

    matrices: tuple[Matrix, ...]
    is_table: bool

    def names(self) -> tuple[str, ...]:
        """What an adapter calls each matrix: the tensor's name, but for an output that is tied to the embedding."""
        return tuple(OUTPUT if m.name == EMBEDDING and not self.is_table else m.name for m in self.matrices)


@dataclass(frozen=True)
class Sites:
    """The sites of a program, by their numbers, and what the file it was made of says: tensors (name to shape, in
    GGUF's order) and metadata."""

    sites: Sequence[Site]
    shapes: Mapping[str, tuple[int, ...]]
    architecture: str
    metadata: Mapping[str, Any]


def sites_of(nodes: Sequence[Node]) -> list[Site]:
    """Those of a lowered network. The program numbers operations with matrices in the same order."""
    return [Site(node.call().matrices, isinstance(node, Embed)) for node in nodes if node.call().matrices]
