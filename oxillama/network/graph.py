"""The builder with which an architecture file describes its network.

A graph is a list of operations over values. A value is a row of float32 per token of a step, or per output of a step;
nothing here knows how many. Every tensor named is looked up in the file and its shape checked at once. What operations
there are is in `oxillama.network.operations`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from oxillama.errors import ModelLoadError


class RowSpace(IntEnum):
    """What the rows of a value stand for; the numbers are the executor's."""

    TOKENS = 0
    OUTPUTS = 1  # the rows that leave the network, as logits or as embeddings
    LOGITS = 2  # the first of these: the rows whose logits are wanted


class TensorInfo(Protocol):
    """What the graph needs to know of a tensor in the file."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def type_id(self) -> int: ...


class Tensors(Protocol):
    """The tensors of a file, by name."""

    def get(self, name: str) -> TensorInfo | None: ...
    def floats(self, name: str) -> npt.NDArray[np.float32]:
        """The values of a small tensor of floats, flat."""


@dataclass(frozen=True, eq=False)
class Value:
    """`width` float32 per row, `fold` rows for each of the space. Values are compared by identity."""

    width: int
    space: RowSpace
    fold: int = 1

    def like(self, width: int) -> Value:
        """A new value of the same rows."""
        return Value(width, self.space, self.fold)


@dataclass(frozen=True)
class Vector:
    """`width` values of a float tensor in the file, those of `ranges` one after another: a norm weight or a bias."""

    name: str
    width: int
    ranges: tuple[range, ...]


@dataclass(frozen=True)
class Matrix:
    """`rows` x `k` weights of any type: the rows `ranges` of a tensor in the file, one after another. The optional bias
    has their number, too."""

    name: str
    rows: int
    k: int
    type_id: int
    bias: Vector | None
    ranges: tuple[range, ...]


@dataclass(frozen=True)
class Call:
    """What the program is told of an operation beside what it reads and writes."""

    matrices: tuple[Matrix, ...] = ()
    vectors: tuple[Vector | npt.NDArray[np.float32] | None, ...] = ()
    parameters: Mapping[str, float] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """An operation. `reads` and `writes` name the values that it touches."""

    reads: tuple[Value, ...]
    writes: tuple[Value, ...]

    kind: ClassVar[str]  # by which the core knows it; "" for what is no operation of the core
    in_place: ClassVar[int | None] = None  # the first result takes the place of this one of `reads`

    def call(self) -> Call:
        return Call()

    def products(self) -> tuple[Matrix, ...]:
        """The matrices that `reads[0]` is multiplied with, whose types say in which forms it must be there."""
        return ()

    def aliases(self) -> Value | None:
        """The value in whose place the first result comes."""
        return None if self.in_place is None else self.reads[self.in_place]

    @property
    def rows_of(self) -> Value:
        """A value with as many rows as the operation has."""
        return (self.writes or self.reads)[0]


class Graph:
    """Collects the operations of one network over the tensors of one file."""

    def __init__(self, tensors: Tensors) -> None:
        self.nodes: list[Node] = []
        self.result: Value | None = None
        self.last_hidden: Value | None = None
        self.used: set[str] = set()
        self._tensors = tensors

    def append(self, node: Node) -> Value:
        """Adds an operation; returns its first result."""
        self.nodes.append(node)
        return node.rows_of

    def has(self, name: str) -> bool:
        return self._tensors.get(name) is not None

    def rows(self, name: str) -> int:
        """The number of rows of a matrix whose other dimension is checked later: the size of the vocabulary."""
        tensor = self._tensors.get(f"{name}.weight")
        if tensor is None:
            raise ModelLoadError(f"tensor {name + '.weight'!r} is missing")
        if len(tensor.shape) < 2:
            raise ModelLoadError(f"tensor {name + '.weight'!r} has shape {list(tensor.shape)}, expected a matrix")
        return tensor.shape[1]

    def constant(self, name: str, width: int) -> npt.NDArray[np.float32]:
        """The float32 [width] values of a tensor that the description itself depends on."""
        self._check(f"{name}.weight", (width,))
        return self._tensors.floats(f"{name}.weight")

    def matrices(self) -> list[Matrix]:
        """Every weight matrix of the network, once, in the order of use."""
        found = {matrix: None for node in self.nodes for matrix in node.call().matrices}
        return list(found)

    def vector(
        self, name: str, width: int, *, ranges: tuple[range, ...] | None = None, of: int | None = None
    ) -> Vector:
        """A float tensor of `width` values; with `ranges`, these of a tensor of `of` values."""
        self._check(name, (width if of is None else of,))
        return Vector(name, width, ranges or (range(width),))

    def matrix(
        self, name: str, *, k: int, rows: int, ranges: tuple[range, ...] | None = None, of: int | None = None
    ) -> Matrix:
        """`name`.weight of `rows` x `k`, with `name`.bias where the file has one; with `ranges`, these rows of a tensor
        of `of` rows."""
        n_rows = rows if of is None else of
        tensor = self._check(f"{name}.weight", (k, n_rows))
        bias = self.vector(f"{name}.bias", rows, ranges=ranges, of=n_rows) if self.has(f"{name}.bias") else None
        return Matrix(f"{name}.weight", rows, k, tensor.type_id, bias, ranges or (range(rows),))

    def output(self, logits: Value) -> None:
        self.result = logits

    def _check(self, name: str, shape: tuple[int, ...]) -> TensorInfo:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise ModelLoadError(f"tensor {name!r} is missing; expected shape {list(shape)}")
        found = tuple(tensor.shape)
        # A trailing dimension of 1 says nothing.
        if found[: len(shape)] != shape or any(n != 1 for n in found[len(shape) :]):
            raise ModelLoadError(f"tensor {name!r} has shape {list(found)}, expected {list(shape)}")
        self.used.add(name)
        return tensor
