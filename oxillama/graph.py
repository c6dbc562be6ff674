"""The builder with which an architecture file describes its network.

A graph is a list of nodes over values. A value is a row of float32 per token of a step, or per output of a step;
nothing here knows how many. Every tensor named is looked up in the file and its shape checked at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from oxillama.errors import ModelLoadError


class RowSpace(IntEnum):
    """What the rows of a value stand for; the numbers are the executor's."""

    TOKENS = 0
    OUTPUTS = 1  # the rows that leave the network, as logits or as embeddings
    LOGITS = 2  # the first of these: the rows whose logits are wanted


class RopeLayout(IntEnum):
    """Which elements of a head rotate together; the numbers are the kernels'."""

    INTERLEAVED = 0  # (0, 1), (2, 3), ...
    HALVES = 1  # (0, n/2), (1, n/2 + 1), ...


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
    """`width` float32 per row. Values are compared by identity."""

    width: int
    space: RowSpace


@dataclass(frozen=True)
class Vector:
    """A float tensor of `width` values in the file: a norm weight or a bias."""

    name: str
    width: int


@dataclass(frozen=True)
class Matrix:
    """A weight tensor of `rows` x `k` in the file, of any type, with an optional bias."""

    name: str
    rows: int
    k: int
    type_id: int
    bias: Vector | None


@dataclass(frozen=True, eq=False)
class Node:
    """An operation. `reads` and `writes` name the values that it touches."""

    reads: tuple[Value, ...]
    writes: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Embed(Node):
    table: Matrix


@dataclass(frozen=True, eq=False)
class RopeTable(Node):
    inverse_frequencies: npt.NDArray[np.float32]
    magnitude: float


@dataclass(frozen=True, eq=False)
class RMSNorm(Node):
    """Normalises each of `n_heads` parts of a row by itself, with the same weights."""

    weight: Vector
    epsilon: float
    n_heads: int


@dataclass(frozen=True, eq=False)
class Linear(Node):
    matrix: Matrix


@dataclass(frozen=True, eq=False)
class Rope(Node):
    """Reads (x, table); its result takes the place of x."""

    layout: RopeLayout
    n_heads: int
    head_dim: int


@dataclass(frozen=True, eq=False)
class KVStore(Node):
    layer: int


@dataclass(frozen=True, eq=False)
class Attention(Node):
    layer: int
    n_heads: int
    head_dim: int
    scale: float
    window: int


@dataclass(frozen=True, eq=False)
class SwiGLU(Node):
    pass


@dataclass(frozen=True, eq=False)
class Add(Node):
    pass


@dataclass(frozen=True, eq=False)
class Select(Node):
    """The rows that leave the network."""


@dataclass(frozen=True, eq=False)
class Hidden(Node):
    """Not an operation: its result is the first rows of what it reads."""


class Graph:
    """Collects the nodes of one network over the tensors of one file."""

    def __init__(self, tensors: Tensors) -> None:
        self.nodes: list[Node] = []
        self.result: Value | None = None
        self.last_hidden: Value | None = None
        self.used: set[str] = set()
        self._tensors = tensors

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

    def embed(self, name: str, *, n_vocab: int, width: int) -> Value:
        """The table's row of each token."""
        out = Value(width, RowSpace.TOKENS)
        self.nodes.append(Embed((), (out,), self._matrix(name, k=width, rows=n_vocab)))
        return out

    def rope_table(self, inverse_frequencies: npt.NDArray[np.float32], magnitude: float = 1.0) -> Value:
        """Cosine and sine of position times frequency, times `magnitude`; made once per step, used by each layer."""
        out = Value(2 * len(inverse_frequencies), RowSpace.TOKENS)
        self.nodes.append(RopeTable((), (out,), inverse_frequencies, magnitude))
        return out

    def rms_norm(self, x: Value, name: str, *, epsilon: float, n_heads: int = 1) -> Value:
        """x over its root mean square, times `name`.weight; with n_heads, each head by itself and with one weight."""
        out = Value(x.width, x.space)
        weight = self.vector(f"{name}.weight", x.width // n_heads)
        self.nodes.append(RMSNorm((x,), (out,), weight, epsilon, n_heads))
        return out

    def linear(self, x: Value, name: str, *, width: int) -> Value:
        """The product with `name`.weight, plus `name`.bias where the file has one. Products of one value that are asked
        for one after the other are computed together."""
        out = Value(width, x.space)
        self.nodes.append(Linear((x,), (out,), self._matrix(name, k=x.width, rows=width)))
        return out

    def rope(self, x: Value, table: Value, *, layout: RopeLayout, n_heads: int) -> Value:
        """Rotates the first `table.width` elements of each head. x must not be used afterwards."""
        out = Value(x.width, x.space)
        self.nodes.append(Rope((x, table), (out,), layout, n_heads, x.width // n_heads))
        return out

    def attention(self, q: Value, k: Value, v: Value, *, layer: int, n_heads: int, scale: float, window: int) -> Value:
        """Appends K and V to the layer's cache and attends causally; window 0 means none."""
        out = Value(q.width, q.space)
        self.nodes.append(KVStore((k, v), (), layer))
        self.nodes.append(Attention((q,), (out,), layer, n_heads, q.width // n_heads, scale, window))
        return out

    def swiglu(self, gate: Value, up: Value) -> Value:
        """silu(gate) * up (Shazeer 2020, arXiv:2002.05202)."""
        out = Value(gate.width, gate.space)
        self.nodes.append(SwiGLU((gate, up), (out,)))
        return out

    def add(self, x: Value, y: Value) -> Value:
        out = Value(x.width, x.space)
        self.nodes.append(Add((x, y), (out,)))
        return out

    def select(self, x: Value) -> Value:
        out = Value(x.width, RowSpace.OUTPUTS)
        self.nodes.append(Select((x,), (out,)))
        return out

    def hidden(self, x: Value) -> Value:
        """Names the last hidden state, which embeddings are made of; returns its rows that become logits."""
        if x.space is not RowSpace.OUTPUTS:
            raise ValueError("the last hidden state is a value of the selected rows")
        out = Value(x.width, RowSpace.LOGITS)
        self.nodes.append(Hidden((x,), (out,)))
        self.last_hidden = x
        return out

    def output(self, logits: Value) -> None:
        self.result = logits

    def matrices(self) -> list[Matrix]:
        """Every weight matrix of the network, once, in the order of use."""
        found = {node.table.name: node.table for node in self.nodes if isinstance(node, Embed)}
        found |= {node.matrix.name: node.matrix for node in self.nodes if isinstance(node, Linear)}
        return list(found.values())

    def vector(self, name: str, width: int) -> Vector:
        self._check(name, (width,))
        return Vector(name, width)

    def _matrix(self, name: str, *, k: int, rows: int) -> Matrix:
        tensor = self._check(f"{name}.weight", (k, rows))
        bias = self.vector(f"{name}.bias", rows) if self.has(f"{name}.bias") else None
        return Matrix(f"{name}.weight", rows, k, tensor.type_id, bias)

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
