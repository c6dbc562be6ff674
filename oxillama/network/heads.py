"""Products of each head with a matrix of its own (DeepSeek-V2, arXiv:2405.04434).

In between a value has one row for each head of a token (`fold`), those of a head together."""

from __future__ import annotations

from dataclasses import dataclass

from oxillama.network.graph import Call, Graph, Matrix, Node, Value


@dataclass(frozen=True, eq=False)
class SplitHeads(Node):
    kind = "split_heads"
    n_heads: int
    offset: int

    def call(self) -> Call:
        return Call(parameters={"n_heads": self.n_heads, "offset": self.offset})


@dataclass(frozen=True, eq=False)
class HeadProduct(Node):
    kind = "head_product"
    matrix: Matrix

    def call(self) -> Call:
        return Call((self.matrix,), vectors=(self.matrix.scale,), parameters={"n_heads": self.matrix.stack})

    def products(self) -> tuple[Matrix, ...]:
        return (self.matrix,)


def head_product(graph: Graph, x: Value, name: str, *, n_heads: int, k: int, width: int, offset: int = 0) -> Value:
    """The heads' products, one behind the other. x is n_heads stretches; of each, the `k` columns from `offset` on are
    multiplied with a matrix of `width` rows of the stack `name`.weight."""
    matrix = graph.stack(name, k=k, rows=width, stack=n_heads)
    heads = Value(k, x.space, x.fold * n_heads)
    graph.append(SplitHeads(reads=(x,), writes=(heads,), n_heads=n_heads, offset=offset))
    return graph.append(HeadProduct(reads=(heads,), writes=(x.like(n_heads * width),), matrix=matrix))
