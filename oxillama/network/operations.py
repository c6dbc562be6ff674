"""The operations an architecture can be described with: for each a class, which the core knows by its `kind`, and a
function that adds it to a graph and returns its result.

A new operation is a class and a function here or in a module beside it, and its row in the core, where the function
that runs it stands (`register_rows` or `register_work`). Nothing else knows operations by name, but what fuses them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from oxillama._core.network.row_operations import ACTIVATIONS
from oxillama.errors import UnsupportedModelError
from oxillama.network.graph import Call, Graph, KVHandle, Matrix, Node, RowSpace, Value, Vector


class RopeLayout(IntEnum):
    """Which elements of a head rotate together; the numbers are the kernels'."""

    INTERLEAVED = 0  # (0, 1), (2, 3), ...
    HALVES = 1  # (0, n/2), (1, n/2 + 1), ...


@dataclass(frozen=True)
class Activation:
    """A function of single values, by the name that csrc/kernels.h gives it, and its parameters."""

    name: str
    parameters: tuple[float, ...] = ()

    def numbers(self) -> dict[str, float]:
        return {"function": ACTIVATIONS[self.name]} | {f"p{i}": x for i, x in enumerate(self.parameters)}


MOST = float(np.finfo(np.float32).max)
SILU = Activation("silu")
GELU = Activation("gelu")
GELU_TANH = Activation("gelu_tanh")
RELU_SQUARED = Activation("relu_squared")
SIGMOID = Activation("sigmoid")
TANH = Activation("tanh")


@dataclass(frozen=True, eq=False)
class Embed(Node):
    kind = "embed"
    table: Matrix

    def call(self) -> Call:
        return Call((self.table,))


def embed(graph: Graph, name: str, *, n_vocab: int, width: int) -> Value:
    """The table's row of each token."""
    table = graph.table(name, rows=n_vocab, width=width)
    return graph.append(Embed(reads=(), writes=(Value(width, RowSpace.TOKENS),), table=table))


@dataclass(frozen=True, eq=False)
class EmbedPosition(Embed):
    kind = "embed_position"


def embed_position(graph: Graph, name: str, *, n_positions: int, width: int) -> Value:
    """The table's row of each token's position: learned positions."""
    table = graph.table(name, rows=n_positions, width=width)
    return graph.append(EmbedPosition(reads=(), writes=(Value(width, RowSpace.TOKENS),), table=table))


@dataclass(frozen=True, eq=False)
class RopeTable(Node):
    kind = "rope_table"
    inverse_frequencies: npt.NDArray[np.float32]
    magnitude: float

    def call(self) -> Call:
        parameters = {"dims": 2 * len(self.inverse_frequencies), "magnitude": self.magnitude}
        return Call(vectors=(self.inverse_frequencies,), parameters=parameters)


def rope_table(graph: Graph, inverse_frequencies: npt.NDArray[np.float32], magnitude: float = 1.0) -> Value:
    """Cosine and sine of position times frequency, times `magnitude`; made once per step, used by each layer."""
    out = Value(2 * len(inverse_frequencies), RowSpace.TOKENS)
    return graph.append(
        RopeTable(reads=(), writes=(out,), inverse_frequencies=inverse_frequencies, magnitude=magnitude)
    )


@dataclass(frozen=True, eq=False)
class Norm(Node):
    """Normalises each of `n_heads` parts of a row by itself, with the same weights."""

    weight: Vector | None
    bias: Vector | None
    epsilon: float
    n_heads: int

    def call(self) -> Call:
        return Call(vectors=(self.weight, self.bias), parameters={"n_heads": self.n_heads, "epsilon": self.epsilon})


@dataclass(frozen=True, eq=False)
class RMSNorm(Norm):
    kind = "rms_norm"


@dataclass(frozen=True, eq=False)
class LayerNorm(Norm):
    kind = "layer_norm"


def rms_norm(graph: Graph, x: Value, name: str | None, *, epsilon: float, n_heads: int = 1) -> Value:
    """x over its root mean square, times `name`.weight (Zhang and Sennrich 2019, arXiv:1910.07467), plus `name`.bias
    where the file has one; with n_heads, each head by itself and with one weight. Without a name there is neither."""
    return _norm(RMSNorm, graph, x, name, epsilon, n_heads)


def _norm(kind: type[Norm], graph: Graph, x: Value, name: str | None, epsilon: float, n_heads: int) -> Value:
    width = x.width // n_heads
    weight = graph.vector(f"{name}.weight", width) if name else None
    bias = graph.vector(f"{name}.bias", width) if name and graph.has(f"{name}.bias") else None
    return graph.append(
        kind(reads=(x,), writes=(x.like(x.width),), weight=weight, bias=bias, epsilon=epsilon, n_heads=n_heads)
    )


def layer_norm(graph: Graph, x: Value, name: str | None, *, epsilon: float, n_heads: int = 1) -> Value:
    """x less its mean, over its standard deviation, times `name`.weight and plus `name`.bias where the file has one (Ba
    et al. 2016, arXiv:1607.06450)."""
    return _norm(LayerNorm, graph, x, name, epsilon, n_heads)


@dataclass(frozen=True, eq=False)
class Linear(Node):
    """Up to three products of one value; an accumulating one reads (x, sum) and its result takes the place of sum.

    rest: the last of what it reads, where x is multiplied as its twin and what that leaves over."""

    kind = "product"
    matrices: tuple[Matrix, ...]
    accumulate: bool = False
    rest: Value | None = None

    def call(self) -> Call:
        return Call(self.matrices, parameters={"accumulate": self.accumulate, "rest": _place_of(self.rest, self.reads)})

    def products(self) -> tuple[Matrix, ...]:
        return self.matrices

    def aliases(self) -> Value | None:
        return self.reads[1] if self.accumulate else None


def linear(
    graph: Graph, x: Value, name: str, *, width: int, ranges: tuple[range, ...] | None = None, of: int | None = None
) -> Value:
    """The product with `name`.weight, plus `name`.bias where the file has one. Products of one value that are asked for
    one after the other are computed together. With `ranges`, only these rows of a matrix of `of` rows: the part of a
    fused tensor."""
    matrix = graph.matrix(name, k=x.width, rows=width, ranges=ranges, of=of)
    return graph.append(Linear(reads=(x,), writes=(x.like(width),), matrices=(matrix,)))


def linear_of_stack(graph: Graph, x: Value, name: str, index: int, *, width: int, stack: int) -> Value:
    """The product with matrix `index` of the `stack` in `name`.weight."""
    matrices = graph.stack(name, k=x.width, rows=width, stack=stack)
    scale, bias = matrices.scale, matrices.bias
    matrix = replace(
        matrices,
        ranges=(matrices.ranges[index],),
        stack=1,
        bias=replace(bias, width=width, ranges=(bias.ranges[index],)) if bias else None,
        scale=replace(scale, width=1, ranges=(range(index, index + 1),)) if scale else None,
    )
    return graph.append(Linear(reads=(x,), writes=(x.like(width),), matrices=(matrix,)))


@dataclass(frozen=True, eq=False)
class GatedLinear(Node):
    """f(gate . x) * (up . x). Made by lowering of two products and a gated activation."""

    kind = "gated_product"
    gate: Matrix
    up: Matrix
    function: Activation
    rest: Value | None = None

    def call(self) -> Call:
        return Call(
            (self.gate, self.up), parameters=self.function.numbers() | {"rest": _place_of(self.rest, self.reads)}
        )

    def products(self) -> tuple[Matrix, ...]:
        return (self.gate, self.up)


def _place_of(value: Value | None, reads: tuple[Value, ...]) -> int:
    return 0 if value is None else reads.index(value)


@dataclass(frozen=True, eq=False)
class Rope(Node):
    kind = "rope"
    in_place = 0
    layout: RopeLayout
    n_heads: int
    head_dim: int
    dims: int
    offset: int

    def call(self) -> Call:
        return Call(
            parameters={
                "layout": self.layout,
                "n_heads": self.n_heads,
                "head_dim": self.head_dim,
                "dims": self.dims,
                "offset": self.offset,
            }
        )


def rope(graph: Graph, x: Value, table: Value, *, layout: RopeLayout, n_heads: int, offset: int = 0) -> Value:
    """Rotates `table.width` elements of each head, beginning with `offset`. x must not be used afterwards."""
    return graph.append(
        Rope(
            reads=(x, table),
            writes=(x.like(x.width),),
            layout=layout,
            n_heads=n_heads,
            head_dim=x.width // n_heads,
            dims=table.width,
            offset=offset,
        )
    )


@dataclass(frozen=True, eq=False)
class KVStore(Node):
    kind = "kv_store"
    store: KVHandle

    def call(self) -> Call:
        return Call(parameters={"store": self.store.index})


class Span(IntEnum):
    """Which keys a token attends; the numbers are the kernels'."""

    CAUSAL = 0  # itself and the window - 1 before it
    SYMMETRIC = 1  # the whole sequence, up to window / 2 away: encoders, whose prompts are computed in one step
    CHUNK = 2  # itself and what came before in its own stretch of `window` tokens


@dataclass(frozen=True, eq=False)
class Attention(Node):
    kind = "attention"
    store: KVHandle
    n_heads: int
    scale: float
    window: int
    span: Span
    soft_cap: float
    slopes: npt.NDArray[np.float32] | None
    sinks: Vector | None

    def call(self) -> Call:
        return Call(
            vectors=(self.slopes, self.sinks),
            parameters={
                "store": self.store.index,
                "n_heads": self.n_heads,
                "window": self.window,
                "span": self.span,
                "scale": self.scale,
                "soft_cap": self.soft_cap,
            },
        )


def attention(
    graph: Graph,
    q: Value,
    kv: tuple[Value, Value] | None,
    *,
    store: KVHandle,
    n_heads: int,
    scale: float,
    window: int = 0,
    span: Span = Span.CAUSAL,
    soft_cap: float = 0.0,
    slopes: npt.NDArray[np.float32] | None = None,
    sinks: Vector | None = None,
) -> Value:
    """Appends keys and values to the store, unless another layer has (kv None), and attends; window 0 means none.

    soft_cap: scores become cap * tanh(score / cap). slopes: float32 [n_heads], ALiBi's (Press et al. 2021,
    arXiv:2108.12409). sinks: [n_heads] scores without a value (Xiao et al. 2023, arXiv:2309.17453)."""
    if n_heads % store.n_head_kv or q.width != n_heads * store.k_dim:
        raise UnsupportedModelError(
            f"{n_heads} heads of {q.width // n_heads} values attend a store of {store.n_head_kv} heads of {store.k_dim}"
        )
    if kv is not None and [x.width for x in kv] != [store.n_head_kv * store.k_dim, store.n_head_kv * store.v_dim]:
        raise UnsupportedModelError(
            f"keys and values are {kv[0].width} and {kv[1].width} wide, but attention.key_length and value_length say "
            f"{store.n_head_kv} heads of {store.k_dim} and {store.v_dim}"
        )
    if kv is not None:
        graph.append(KVStore(reads=kv, writes=(), store=store))
    graph.looks_ahead |= span is Span.SYMMETRIC
    out = q.like(n_heads * store.v_dim)
    return graph.append(
        Attention(
            reads=(q,),
            writes=(out,),
            store=store,
            n_heads=n_heads,
            scale=scale,
            window=window,
            span=span,
            soft_cap=soft_cap,
            slopes=slopes,
            sinks=sinks,
        )
    )


@dataclass(frozen=True, eq=False)
class Activate(Node):
    kind = "activate"
    function: Activation

    def call(self) -> Call:
        return Call(parameters=self.function.numbers())


def activate(graph: Graph, x: Value, function: Activation) -> Value:
    return graph.append(Activate(reads=(x,), writes=(x.like(x.width),), function=function))


@dataclass(frozen=True, eq=False)
class Gated(Activate):
    kind = "gated"


def gated(graph: Graph, gate: Value, up: Value, function: Activation = SILU) -> Value:
    """f(gate) * up (Shazeer 2020, arXiv:2002.05202)."""
    return graph.append(Gated(reads=(gate, up), writes=(gate.like(gate.width),), function=function))


def bounded(graph: Graph, gate: Value, up: Value, function: Activation, bound: float) -> Value:
    """min(f(gate), bound) * up between -bound and bound."""
    low = activate(graph, activate(graph, gate, function), Activation("clamp", (-MOST, bound)))
    return multiply(graph, low, activate(graph, up, Activation("clamp", (-bound, bound))))


@dataclass(frozen=True, eq=False)
class Add(Node):
    kind = "add"


def add(graph: Graph, x: Value, y: Value) -> Value:
    return graph.append(Add(reads=(x, y), writes=(x.like(x.width),)))


@dataclass(frozen=True, eq=False)
class AddScaled(Node):
    kind = "add_scaled"
    factor: float

    def call(self) -> Call:
        return Call(parameters={"factor": self.factor})


def add_scaled(graph: Graph, x: Value, y: Value, factor: float) -> Value:
    """x + factor * y."""
    return graph.append(AddScaled(reads=(x, y), writes=(x.like(x.width),), factor=factor))


@dataclass(frozen=True, eq=False)
class Multiply(Node):
    kind = "multiply"


def multiply(graph: Graph, x: Value, y: Value) -> Value:
    """x * y; where y is narrower, each of its values multiplies a stretch of x."""
    if x.width % y.width:
        raise UnsupportedModelError(
            f"{x.width} values are multiplied by {y.width}, expected as many or one for each stretch"
        )
    return graph.append(Multiply(reads=(x, y), writes=(x.like(x.width),)))


@dataclass(frozen=True, eq=False)
class Scale(Node):
    kind = "scale"
    factor: float
    weight: Vector | None = None

    def call(self) -> Call:
        return Call(vectors=(self.weight,), parameters={"factor": self.factor})


def scale(graph: Graph, x: Value, factor: float) -> Value:
    return graph.append(Scale(reads=(x,), writes=(x.like(x.width),), factor=factor))


def scale_elements(graph: Graph, x: Value, name: str, *, n_heads: int = 1) -> Value:
    """x times the tensor of that name, element by element, in which each of n_heads has a row."""
    weight = graph.vector(name, x.width, n_heads=n_heads)
    return graph.append(Scale(reads=(x,), writes=(x.like(x.width),), factor=1.0, weight=weight))


@dataclass(frozen=True, eq=False)
class ScaleByPosition(Node):
    kind = "scale_by_position"
    period: int
    offset: int
    factors: npt.NDArray[np.float32]

    def call(self) -> Call:
        return Call(
            vectors=(self.factors,), parameters={"period": self.period, "n": len(self.factors), "offset": self.offset}
        )


def scale_by_position(
    graph: Graph, x: Value, factors: npt.NDArray[np.float32], *, period: int, offset: int = 0
) -> Value:
    """x times factors[(position + offset) // period]; later positions take the last."""
    return graph.append(
        ScaleByPosition(reads=(x,), writes=(x.like(x.width),), period=period, offset=offset, factors=factors)
    )


@dataclass(frozen=True, eq=False)
class SliceColumns(Node):
    kind = "slice_columns"
    n_parts: int
    offset: int

    def call(self) -> Call:
        return Call(parameters={"n_parts": self.n_parts, "offset": self.offset})


def slice_columns(graph: Graph, x: Value, *, offset: int, width: int, n_parts: int = 1) -> Value:
    """Columns [offset, offset + width) of each of the `n_parts` stretches of x, one after another."""
    out = x.like(width * n_parts)
    return graph.append(SliceColumns(reads=(x,), writes=(out,), n_parts=n_parts, offset=offset))


@dataclass(frozen=True, eq=False)
class JoinColumns(Node):
    kind = "join_columns"
    n_parts: int

    def call(self) -> Call:
        return Call(parameters={"n_parts": self.n_parts})


def join_columns(graph: Graph, x: Value, y: Value, *, n_parts: int = 1, is_shared: bool = False) -> Value:
    """Each of the `n_parts` stretches of x with that of y behind it; with is_shared, with all of y."""
    part, other = x.width // n_parts, y.width if is_shared else y.width // n_parts
    return graph.append(JoinColumns(reads=(x, y), writes=(x.like(n_parts * (part + other)),), n_parts=n_parts))


@dataclass(frozen=True, eq=False)
class Select(Node):
    """The rows that leave the network."""

    kind = "select"


def select(graph: Graph, x: Value) -> Value:
    return graph.append(Select(reads=(x,), writes=(Value(x.width, RowSpace.OUTPUTS),)))


@dataclass(frozen=True, eq=False)
class Hidden(Node):
    """Not an operation: its result is the first rows of what it reads."""

    kind = ""
    in_place = 0


def hidden(graph: Graph, x: Value) -> Value:
    """Names the last hidden state, which embeddings are made of; returns its rows that become logits or scores."""
    show_hidden(graph, x)
    return graph.append(Hidden(reads=(x,), writes=(Value(x.width, RowSpace.LOGITS),)))


def show_hidden(graph: Graph, x: Value) -> None:
    """Names the last hidden state of a network that has nothing else to give."""
    if x.space is not RowSpace.OUTPUTS:
        raise ValueError("the last hidden state is a value of the selected rows")
    graph.last_hidden = x
