"""Turns a graph into a program: fuses, inserts the twins of activations, plans phases and buffers, and emits.

Why a barrier stands where it does, and why a buffer lives as long as it does, is in docs/design/program.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from oxillama._core.kv_cache import KVCache
from oxillama._core.program import Program, activation_form, buffer_bytes, twin_bytes
from oxillama._core.weights import PackedMatrix
from oxillama.graph import (
    Add,
    Attention,
    Embed,
    Graph,
    Hidden,
    KVStore,
    Linear,
    Matrix,
    Node,
    RMSNorm,
    Rope,
    RopeTable,
    RowSpace,
    Select,
    SwiGLU,
    Value,
    Vector,
)

MAX_MATRICES = 3  # of one product


class Weights(Protocol):
    """Where the loaded tensors come from."""

    def matrix(self, matrix: Matrix) -> PackedMatrix: ...
    def vector(self, vector: Vector) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True, eq=False)
class Matmul(Node):
    """Up to three products of one value; an accumulating one reads (x, sum) and its result takes the place of sum."""

    matrices: tuple[Matrix, ...]
    accumulate: bool = False


@dataclass(frozen=True, eq=False)
class MatmulSwiGLU(Node):
    gate: Matrix
    up: Matrix


@dataclass(frozen=True, eq=False)
class Quantize(Node):
    """Makes the twin of the value it reads: the forms, as bits, in which products want it."""

    forms: int


# Operations that work on each row alone, so that a thread may go from one to the next without waiting for the others.
ROW_WISE = (Embed, RopeTable, RMSNorm, Quantize, Add, SwiGLU, Rope, KVStore, Select)


@dataclass
class _Lifetime:
    """A stretch of the arena, and the phases in which it is in use."""

    n_bytes: int
    first: int
    last: int
    offset: int = 0


@dataclass(frozen=True)
class Lowered:
    """The planned program: nodes in order with their phases, and where each value lives."""

    nodes: list[Node]
    phases: list[int]
    storage: dict[Value, Value]  # a value to the one whose buffer it shares
    values: dict[Value, _Lifetime]
    twins: dict[Value, _Lifetime]
    forms: dict[Value, int]  # of those that have a twin: what is in it
    arena_bytes: int
    max_tokens: int
    max_outputs: int
    result: Value
    hidden: Value | None  # the rows of which stay readable after the step

    def rows(self, value: Value) -> int:
        """The most rows of a value in one step."""
        return _most_rows(value.space, self.max_tokens, self.max_outputs, self.hidden)

    def twin(self, value: Value) -> tuple[int, int]:
        """The forms in a buffer's twin, and its offset; zeros where no product wants one."""
        return (self.forms[value], self.twins[value].offset) if value in self.twins else (0, 0)


def lower(graph: Graph, *, max_tokens: int, max_outputs: int) -> Lowered:
    """Plans a graph for batches of at most `max_tokens` rows, of which `max_outputs` become logits."""
    if graph.result is None:
        raise ValueError("the graph has no output")
    nodes = _insert_twins(_fuse(graph.nodes, graph.result))
    phases = _phases(nodes)
    storage = _storage(nodes)
    hidden = graph.last_hidden
    values: dict[Value, _Lifetime] = {}
    twins: dict[Value, _Lifetime] = {}
    forms: dict[Value, int] = {}
    for node, phase in zip(nodes, phases, strict=True):
        for value in (*node.reads, *node.writes):
            home = storage[value]
            n_bytes = buffer_bytes(home.width, _most_rows(home.space, max_tokens, max_outputs, hidden))
            values.setdefault(home, _Lifetime(n_bytes, phase, phase)).last = phase
        if isinstance(node, Quantize):
            home = storage[node.reads[0]]
            # A sum that grows in place is quantised anew, and always in all forms that are wanted of it.
            forms[home] = forms.get(home, 0) | node.forms
            twin = twins.setdefault(home, _Lifetime(0, phase, phase))
            twin.n_bytes = twin_bytes(home.width, _most_rows(home.space, max_tokens, max_outputs, hidden), forms[home])
            twin.last = phase
        elif isinstance(node, Matmul | MatmulSwiGLU) and storage[node.reads[0]] in twins:
            twins[storage[node.reads[0]]].last = phase
    for kept in (graph.result, hidden):
        if kept is not None:
            values[storage[kept]].last = phases[-1] + 1
    arena_bytes = _place([*values.values(), *twins.values()])
    return Lowered(
        nodes, phases, storage, values, twins, forms, arena_bytes, max_tokens, max_outputs, graph.result, hidden
    )


def _most_rows(space: RowSpace, max_tokens: int, max_outputs: int, hidden: Value | None) -> int:
    # Every token may be wanted for an embedding; where there are none, only logits leave the network.
    if space is RowSpace.TOKENS or (space is RowSpace.OUTPUTS and hidden is not None):
        return max_tokens
    return max_outputs


def emit(lowered: Lowered, weights: Weights, *, kv: KVCache, n_threads: int) -> Program:
    """Builds the program over loaded weights."""
    index = {home: i for i, home in enumerate(lowered.values)}
    program = Program(
        [(home.width, lowered.rows(home), life.offset, *lowered.twin(home)) for home, life in lowered.values.items()],
        arena_bytes=lowered.arena_bytes,
        n_ops=len(lowered.nodes),
        kv=kv,
        max_tokens=lowered.max_tokens,
        max_outputs=lowered.max_outputs,
        n_threads=n_threads,
        logits=index[lowered.storage[lowered.result]],
        n_vocab=lowered.result.width,
        hidden=-1 if lowered.hidden is None else index[lowered.storage[lowered.hidden]],
    )
    previous = lowered.phases[0]
    for node, phase in zip(lowered.nodes, lowered.phases, strict=True):
        buffers = {value: index[lowered.storage[value]] for value in (*node.reads, *node.writes)}
        _emit_node(program, node, buffers, weights, barrier=phase != previous)
        previous = phase
    program.seal()
    return program


def _emit_node(program: Program, node: Node, at: dict[Value, int], weights: Weights, *, barrier: bool) -> None:
    src = [at[value] for value in node.reads]
    dst = [at[value] for value in node.writes]
    space = (node.writes or node.reads)[0].space
    match node:
        case Embed():
            program.embed(dst[0], weights.matrix(node.table), barrier=barrier)
        case RopeTable():
            program.rope_table(dst[0], node.inverse_frequencies, node.magnitude, barrier=barrier)
        case RMSNorm():
            weight = weights.vector(node.weight)
            n_heads = node.n_heads
            program.rms_norm(dst[0], src[0], weight, node.epsilon, n_heads=n_heads, space=space, barrier=barrier)
        case Quantize():
            program.quantize(src[0], space=space, barrier=barrier)
        case Add():
            program.add(dst[0], src[0], src[1], space=space, barrier=barrier)
        case SwiGLU():
            program.swiglu(dst[0], src[0], src[1], space=space, barrier=barrier)
        case Rope():
            dims = node.reads[1].width
            program.rope(
                src[0],
                src[1],
                layout=node.layout,
                n_heads=node.n_heads,
                head_dim=node.head_dim,
                rope_dims=dims,
                barrier=barrier,
            )
        case KVStore():
            program.kv_store(src[0], src[1], node.layer, barrier=barrier)
        case Hidden():
            pass  # a phase of its own, so the barrier it would have had comes with the next node
        case Select():
            program.select(dst[0], src[0], barrier=barrier)
        case Attention():
            program.attention(
                dst[0],
                src[0],
                layer=node.layer,
                n_heads=node.n_heads,
                head_dim=node.head_dim,
                scale=node.scale,
                window=node.window,
                barrier=barrier,
            )
            program.checkpoint()
        case Matmul():
            matrices = [weights.matrix(matrix) for matrix in node.matrices]
            program.matmul(dst, src[0], matrices, accumulate=node.accumulate, space=space, barrier=barrier)
        case MatmulSwiGLU():
            gate, up = weights.matrix(node.gate), weights.matrix(node.up)
            program.matmul_swiglu(dst[0], src[0], gate, up, space=space, barrier=barrier)
        case _:
            raise TypeError(f"no operation for {type(node).__name__}")


def _fuse(nodes: list[Node], result: Value) -> list[Node]:
    """q/k/v into one product, gate and up and activation into one, a residual add into the product before it."""
    uses: dict[Value, int] = {result: 1}
    last_reader: dict[Value, Node] = {}
    for node in nodes:
        for value in node.reads:
            uses[value] = uses.get(value, 0) + 1
            last_reader[value] = node
    fused: list[Node] = []
    for node in nodes:
        last = fused[-1] if fused else None
        match node, last:
            case Linear(), Matmul() if last.reads == node.reads and len(last.matrices) < MAX_MATRICES:
                fused[-1] = Matmul(node.reads, last.writes + node.writes, (*last.matrices, node.matrix))
            case Linear(), _:
                fused.append(Matmul(node.reads, node.writes, (node.matrix,)))
            case SwiGLU(), Matmul() if last.writes == node.reads and all(uses.get(value) == 1 for value in last.writes):
                fused[-1] = MatmulSwiGLU(last.reads, node.writes, *last.matrices)
            case Add(), Matmul() if len(last.writes) == 1 and not last.accumulate and uses.get(last.writes[0]) == 1:
                product = last.writes[0]
                other = node.reads[node.reads[0] is product]
                # The sum changes in place, so nobody may want the old value afterwards.
                if product not in node.reads or other is product or last_reader[other] is not node:
                    fused.append(node)
                    continue
                fused[-1] = Matmul((*last.reads, other), node.writes, last.matrices, accumulate=True)
            case _:
                fused.append(node)
    return fused


def _insert_twins(nodes: list[Node]) -> list[Node]:
    wanted: dict[Value, int] = {}
    for node in nodes:
        if isinstance(node, Matmul | MatmulSwiGLU):
            matrices: Iterable[Matrix] = node.matrices if isinstance(node, Matmul) else (node.gate, node.up)
            for matrix in matrices:
                wanted[node.reads[0]] = wanted.get(node.reads[0], 0) | activation_form(matrix.type_id)
    result: list[Node] = []
    for node in nodes:
        if isinstance(node, Matmul | MatmulSwiGLU) and (forms := wanted.pop(node.reads[0], 0)):
            result.append(Quantize((node.reads[0],), (), forms))
        result.append(node)
    return result


def _phases(nodes: list[Node]) -> list[int]:
    phases: list[int] = []
    phase = 0
    open_space: RowSpace | None = None  # of the row operations that the current phase consists of
    for node in nodes:
        row_wise = isinstance(node, ROW_WISE)
        space = (node.writes or node.reads)[0].space
        # A selection reads rows that other threads own, so it may share a phase with other selections only.
        is_select = isinstance(node, Select)
        follows_select = bool(phases) and isinstance(nodes[len(phases) - 1], Select)
        if phases and (not row_wise or open_space is not space or (is_select and not follows_select)):
            phase += 1
        open_space = space if row_wise else None
        phases.append(phase)
    return phases


def _storage(nodes: list[Node]) -> dict[Value, Value]:
    storage: dict[Value, Value] = {}
    for node in nodes:
        for value in node.reads:
            storage.setdefault(value, value)
        if isinstance(node, Rope | Hidden):
            storage[node.writes[0]] = storage[node.reads[0]]
        elif isinstance(node, Matmul) and node.accumulate:
            storage[node.writes[0]] = storage[node.reads[1]]
        else:
            for value in node.writes:
                storage[value] = value
    return storage


def _place(lifetimes: list[_Lifetime]) -> int:
    """Gives each stretch the lowest offset that is free in all of its phases; returns the size of the arena."""
    placed: list[_Lifetime] = []
    for life in sorted(lifetimes, key=lambda life: -life.n_bytes):
        rivals = [other for other in placed if other.first <= life.last and life.first <= other.last]
        offset = 0
        for other in sorted(rivals, key=lambda other: other.offset):
            if offset + life.n_bytes <= other.offset:
                break
            offset = max(offset, other.offset + other.n_bytes)
        life.offset = -(-offset // 64) * 64
        placed.append(life)
    return max((life.offset + life.n_bytes for life in placed), default=0)
