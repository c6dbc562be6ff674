"""The builder with which an architecture file describes its network.

A graph is a list of operations over values. A value is a row of float32 per token of a step, or per output of a step;
nothing here knows how many. Every tensor named is looked up in the file and its shape checked at once. What operations
there are is in `oxillama.network.operations`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from oxillama.errors import ModelLoadError, UnsupportedModelError

MOST_STATE = 2**31 - 1  # floats of a sequence: what the core counts with


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
    has their number, too. Of a stack there are so many, one after another, each with its bias.

    scale: [stack] factors of the products, before the bias is added; where the weights alone are not all."""

    name: str
    rows: int
    k: int
    type_id: int
    bias: Vector | None
    ranges: tuple[range, ...]
    stack: int = 1
    scale: Vector | None = None


@dataclass(frozen=True)
class KVHandle:
    """A store of keys and values: one layer's, or that of several which share it. `index` is its place in the cache."""

    index: int
    n_head_kv: int
    k_dim: int
    v_dim: int


@dataclass(frozen=True)
class StateHandle:
    """Floats that each running sequence keeps from token to token, zero where it begins; `offset` floats into its
    state."""

    offset: int
    width: int


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
        # What leaves the network, as far as it has it.
        self.result: Value | None = None  # the logits
        self.last_hidden: Value | None = None  # what embeddings are made of
        self.scores: Value | None = None  # of a classifier
        self.used: set[str] = set()
        self._left_out: tuple[str, ...] = ()
        self.stores: list[KVHandle] = []
        self.state_floats: int = 0  # of a sequence
        self.kept_floats: int = 0  # of a draft, until its state is committed
        self.looks_ahead = False  # a token attends those behind it, so a prompt is computed in one step
        self._tensors = tensors

    def append(self, node: Node) -> Value:
        """Adds an operation; returns its first result."""
        self.nodes.append(node)
        return node.rows_of

    def kv(self, *, n_head_kv: int, k_dim: int, v_dim: int) -> KVHandle:
        """A new store of keys and values, of so many heads and values of a head."""
        handle = KVHandle(len(self.stores), n_head_kv, k_dim, v_dim)
        self.stores.append(handle)
        return handle

    def state(self, width: int) -> StateHandle:
        """`width` floats that each sequence keeps from token to token."""
        handle = StateHandle(self.state_floats, width)
        self.state_floats += -(-width // 16) * 16
        if self.state_floats > MOST_STATE:
            raise UnsupportedModelError(
                f"a sequence would keep {self.state_floats} floats of state, expected at most {MOST_STATE}"
            )
        return handle

    def keep(self, width: int) -> int:
        """`width` floats of each drafted token that a state is to take in once it is accepted; returns their place."""
        self.kept_floats += width
        return self.kept_floats - width

    def has(self, name: str) -> bool:
        return self._tensors.get(name) is not None

    def leave_out(self, *beginnings: str) -> None:
        """Says of tensors whose names begin so that the network has no use for them, where the file has them."""
        self._left_out += beginnings

    def unused(self, names: Iterable[str]) -> list[str]:
        """Those of the names that nobody has looked up and nobody has left out."""
        return [name for name in names if name not in self.used and not name.startswith(self._left_out)]

    def rows(self, name: str, *, may_be_one: bool = False) -> int:
        """The number of rows of a matrix whose other dimension is checked later: the size of the vocabulary.
        may_be_one: a vector is a matrix of one row."""
        tensor = self._tensors.get(f"{name}.weight")
        if tensor is None:
            raise ModelLoadError(f"tensor {name + '.weight'!r} is missing")
        if len(tensor.shape) < 2:
            if may_be_one:
                return 1
            raise ModelLoadError(f"tensor {name + '.weight'!r} has shape {list(tensor.shape)}, expected a matrix")
        return tensor.shape[1]

    def constant(self, name: str, width: int) -> npt.NDArray[np.float32]:
        """The float32 [width] values of a tensor that the description itself depends on."""
        self._check(f"{name}.weight", (width,))
        return self._tensors.floats(f"{name}.weight")

    def array(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """The float32 values of a small tensor that operations want in another order, in NumPy's: the reverse of
        `shape`, in which dimensions of 1 say nothing."""
        tensor = self._tensors.get(name)
        if tensor is None:
            raise ModelLoadError(f"tensor {name!r} is missing; expected shape {list(shape)}")
        found = tuple(tensor.shape)
        if [n for n in found if n != 1] != [n for n in shape if n != 1]:
            raise ModelLoadError(f"tensor {name!r} has shape {list(found)}, expected {list(shape)}")
        self.used.add(name)
        return self._tensors.floats(name).reshape(shape[::-1])

    def matrices(self) -> list[Matrix]:
        """Every weight matrix of the network, once, in the order of use."""
        found = {matrix: None for node in self.nodes for matrix in node.call().matrices}
        return list(found)

    def vector(
        self,
        name: str,
        width: int,
        *,
        ranges: tuple[range, ...] | None = None,
        of: int | None = None,
        n_heads: int = 1,
    ) -> Vector:
        """A float tensor of `width` values, which may stand in n_heads rows; with `ranges`, these of a tensor of `of`
        values."""
        n_values = width if of is None else of
        _check_ranges(name, ranges, width, n_values)
        self._check(name, (n_values,) if n_heads == 1 else (n_values // n_heads, n_heads))
        return Vector(name, width, ranges or (range(width),))

    def matrix(
        self, name: str, *, k: int, rows: int, ranges: tuple[range, ...] | None = None, of: int | None = None
    ) -> Matrix:
        """`name`.weight of `rows` x `k`, with `name`.bias where the file has one; with `ranges`, these rows of a tensor
        of `of` rows."""
        n_rows = rows if of is None else of
        _check_ranges(f"{name}.weight", ranges, rows, n_rows)
        tensor = self._check(f"{name}.weight", (k, n_rows))
        bias = self.vector(f"{name}.bias", rows, ranges=ranges, of=n_rows) if self.has(f"{name}.bias") else None
        return Matrix(
            f"{name}.weight", rows, k, tensor.type_id, bias, ranges or (range(rows),), scale=self._scale(name, 1)
        )

    def table(self, name: str, *, rows: int, width: int) -> Matrix:
        """A matrix of which rows are read, not multiplied."""
        table = self.matrix(name, k=width, rows=rows)
        if table.scale is not None:
            raise UnsupportedModelError(
                f"tensor {table.scale.name!r} scales a table of embeddings, which is not supported"
            )
        return table

    def stack(self, name: str, *, k: int, rows: int, stack: int, first: int = 0, of: int | None = None) -> Matrix:
        """`stack` matrices of `rows` x `k`, one of each expert, from the three-dimensional `name`.weight, with
        `name`.bias where the file has one; with `of`, rows from `first` on of as many in each of its matrices."""
        n_rows = rows if of is None else of
        tensor = self._check(f"{name}.weight", (k, n_rows, stack))
        ranges = tuple(range(i * n_rows + first, i * n_rows + first + rows) for i in range(stack))
        bias = None
        if self.has(f"{name}.bias"):
            self._check(f"{name}.bias", (n_rows, stack))
            bias = Vector(f"{name}.bias", rows * stack, ranges)
        return Matrix(f"{name}.weight", rows, k, tensor.type_id, bias, ranges, stack, self._scale(name, stack))

    def _scale(self, name: str, n: int) -> Vector | None:
        if self.has(f"{name}.input_scale"):
            # What activations would be multiplied with on other hardware: no part of the network's meaning.
            self.vector(f"{name}.input_scale", n)
        # A tensor of another shape has another meaning, which its family knows.
        found = self._tensors.get(f"{name}.scale")
        is_product_s = found is not None and _without_ones(tuple(found.shape)) == _without_ones((n,))
        return self.vector(f"{name}.scale", n) if is_product_s else None

    def output(self, logits: Value) -> None:
        self.result = logits

    def _check(self, name: str, shape: tuple[int, ...]) -> TensorInfo:
        tensor = self._tensors.get(name)
        if tensor is None:
            raise ModelLoadError(f"tensor {name!r} is missing; expected shape {list(shape)}")
        found = tuple(tensor.shape)
        if _without_ones(found) != _without_ones(shape):
            raise ModelLoadError(f"tensor {name!r} has shape {list(found)}, expected {list(shape)}")
        self.used.add(name)
        return tensor


def _check_ranges(name: str, ranges: tuple[range, ...] | None, n: int, of: int) -> None:
    """A description that takes other rows of a tensor than it says is wrong itself, whatever the file."""
    if ranges is None:
        if of != n:
            raise ValueError(f"{n} of the {of} rows of {name!r} are taken, but not which")
        return
    if sum(map(len, ranges)) != n or any(part and not 0 <= part[0] <= part[-1] < of for part in ranges):
        raise ValueError(f"{ranges} are no {n} of the {of} rows of {name!r}")


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A trailing dimension of 1 says nothing."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
