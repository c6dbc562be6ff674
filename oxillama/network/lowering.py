"""Turns a graph into a program: fuses, inserts the twins of activations, plans phases and buffers, and emits.

Why a barrier stands where it does, and why a buffer lives as long as it does, is in docs/design/program.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from oxillama._core.gguf.ggml_types import GGML_TYPES
from oxillama._core.network.operations import is_row_wise
from oxillama._core.network.program import REST_FORM, Program, activation_form, buffer_bytes, twin_bytes
from oxillama._core.network.team import Team
from oxillama._core.network.weights import PackedMatrix
from oxillama._core.scheduling.kv_cache import KVCache
from oxillama.network.experts import Combine, Gather
from oxillama.network.graph import Graph, Matrix, Node, RowSpace, Value, Vector
from oxillama.network.operations import Add, Attention, Embed, Gated, GatedLinear, Linear, Select
from oxillama.network.recurrence import LinearRecurrence
from oxillama.network.relative_attention import RelativeAttention
from oxillama.network.twins import Quantize, Rest

MAX_MATRICES = 3  # of one product
# Types whose weights are so exact that rounding activations to int8 is what moves an embedding: MiniLM in Q8_0 has a
# cosine of 0.991 to exact activations with one int8 form, of 0.9995 with a second one of what that leaves over.
_EXACT_TYPES = frozenset(number for number, row in GGML_TYPES.items() if row.name in ("Q8_0", "Q6_K"))


class Weights(Protocol):
    """Where the loaded tensors come from."""

    def matrix(self, matrix: Matrix) -> PackedMatrix: ...
    def vector(self, vector: Vector) -> npt.NDArray[np.float32]: ...


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
    # What leaves the network, and stays readable after the step; None where there is none.
    result: Value | None
    hidden: Value | None
    scores: Value | None
    n_vocab: int
    whole: bool  # attention looks ahead, so the prompt of a sequence is computed in one step
    state_floats: int  # of a sequence
    kept_floats: int  # of a draft, until its state is committed

    def rows(self, value: Value) -> int:
        """The most rows of a value in one step."""
        return _most_rows(value, self.max_tokens, self.max_outputs, self.hidden)

    def twin(self, value: Value) -> tuple[int, int]:
        """The forms in a buffer's twin, and its offset; zeros where no product wants one."""
        return (self.forms[value], self.twins[value].offset) if value in self.twins else (0, 0)


def lower(graph: Graph, *, max_tokens: int, max_outputs: int) -> Lowered:
    """Plans a graph for batches of at most `max_tokens` rows, of which `max_outputs` become logits."""
    hidden = graph.last_hidden
    heads = [value for value in (graph.result, hidden, graph.scores) if value is not None]
    if not heads:
        raise ValueError("the graph has no output")
    nodes = _insert_twins(_fuse(graph.nodes, heads), refines=graph.looks_ahead)
    phases = _phases(nodes)
    storage = _storage(nodes)
    values: dict[Value, _Lifetime] = {}
    twins: dict[Value, _Lifetime] = {}
    forms: dict[Value, int] = {}
    for node, phase in zip(nodes, phases, strict=True):
        for value in (*node.reads, *node.writes):
            home = storage[value]
            n_bytes = buffer_bytes(home.width, _most_rows(home, max_tokens, max_outputs, hidden))
            values.setdefault(home, _Lifetime(n_bytes, phase, phase)).last = phase
        if isinstance(node, Quantize):
            home = storage[node.reads[0]]
            # A sum that grows in place is quantised anew, and always in all forms that are wanted of it.
            forms[home] = forms.get(home, 0) | node.forms
            twin = twins.setdefault(home, _Lifetime(0, phase, phase))
            twin.n_bytes = twin_bytes(home.width, _most_rows(home, max_tokens, max_outputs, hidden), forms[home])
            twin.last = phase
        elif node.products():
            for value in _multiplied(node):
                if storage[value] in twins:
                    twins[storage[value]].last = phase
    for kept in heads:
        values[storage[kept]].last = phases[-1] + 1
    arena_bytes = _place([*values.values(), *twins.values()])
    return Lowered(
        nodes,
        phases,
        storage,
        values,
        twins,
        forms,
        arena_bytes,
        max_tokens,
        max_outputs,
        graph.result,
        hidden,
        graph.scores,
        _n_vocab(graph),
        graph.looks_ahead,
        graph.state_floats,
        graph.kept_floats,
    )


def _n_vocab(graph: Graph) -> int:
    # The token table may be narrower than the output; without one of the two the other says it.
    if graph.result is not None:
        return graph.result.width
    return next((node.table.rows for node in graph.nodes if type(node) is Embed), 0)


def _most_rows(value: Value, max_tokens: int, max_outputs: int, hidden: Value | None) -> int:
    # Every token may be wanted for an embedding; where there are none, only logits leave the network.
    if value.space is RowSpace.TOKENS or (value.space is RowSpace.OUTPUTS and hidden is not None):
        return max_tokens * value.fold
    return max_outputs * value.fold


def emit(
    lowered: Lowered,
    weights: Weights,
    *,
    kv: KVCache,
    n_threads: int,
    n_slots: int,
    n_snapshots: int = 0,
    team: Team | None = None,
) -> Program:
    """Builds the program over loaded weights, with room for the states of `n_slots` sequences, and for so many more.

    team: of another program, in turn with which it runs; None: one of its own."""
    index = {home: i for i, home in enumerate(lowered.values)}

    def head(value: Value | None) -> int:
        return -1 if value is None else index[lowered.storage[value]]

    program = Program(
        [(home.width, lowered.rows(home), life.offset, *lowered.twin(home)) for home, life in lowered.values.items()],
        arena_bytes=lowered.arena_bytes,
        n_ops=len(lowered.nodes),
        kv=kv,
        max_tokens=lowered.max_tokens,
        max_outputs=lowered.max_outputs,
        n_threads=n_threads,
        n_vocab=lowered.n_vocab,
        logits=head(lowered.result),
        hidden=head(lowered.hidden),
        scores=head(lowered.scores),
        whole=lowered.whole,
        state_floats=lowered.state_floats,
        n_slots=n_slots,
        n_snapshots=n_snapshots,
        kept_floats=lowered.kept_floats,
        team=team,
    )
    previous = lowered.phases[0]
    for node, phase in zip(lowered.nodes, lowered.phases, strict=True):
        buffers = {value: index[lowered.storage[value]] for value in (*node.reads, *node.writes)}
        _emit_node(program, node, buffers, weights, barrier=phase != previous)
        previous = phase
    program.seal()
    return program


def _emit_node(program: Program, node: Node, at: dict[Value, int], weights: Weights, *, barrier: bool) -> None:
    if not node.kind:
        return  # a phase of its own, so the barrier it would have had comes with the next node
    call = node.call()
    program.append(
        node.kind,
        [at[value] for value in node.reads],
        [at[value] for value in node.writes],
        matrices=[weights.matrix(matrix) for matrix in call.matrices],
        vectors=[weights.vector(v) if isinstance(v, Vector) else v for v in call.vectors],
        space=node.rows_of.space,
        fold=node.rows_of.fold,
        barrier=barrier,
        **(call.parameters or {}),
    )
    if isinstance(node, Attention | RelativeAttention | LinearRecurrence):
        program.checkpoint()


def _fuse(nodes: list[Node], heads: list[Value]) -> list[Node]:
    """q/k/v into one product, gate and up and activation into one, a residual add into the product before it."""
    uses: dict[Value, int] = dict.fromkeys(heads, 1)
    last_reader: dict[Value, Node] = {}
    for node in nodes:
        for value in node.reads:
            uses[value] = uses.get(value, 0) + 1
            last_reader[value] = node
    fused: list[Node] = []
    for node in nodes:
        last = fused[-1] if fused else None
        match node, last:
            case Linear(), Linear() if (
                last.reads == node.reads and not last.accumulate and len(last.matrices) < MAX_MATRICES
            ):
                matrices = (*last.matrices, *node.matrices)
                fused[-1] = Linear(reads=node.reads, writes=last.writes + node.writes, matrices=matrices)
            case Gated(), Linear() if last.writes == node.reads and all(uses.get(value) == 1 for value in last.writes):
                gate, up = last.matrices
                fused[-1] = GatedLinear(reads=last.reads, writes=node.writes, gate=gate, up=up, function=node.function)
            case Add(), Linear() if len(last.writes) == 1 and not last.accumulate and uses.get(last.writes[0]) == 1:
                product = last.writes[0]
                other = node.reads[node.reads[0] is product]
                # The sum changes in place, so nobody may want the old value afterwards.
                if (
                    product not in node.reads
                    or other is product
                    or other in last.reads
                    or other in heads
                    or last_reader[other] is not node
                ):
                    fused.append(node)
                    continue
                reads = (*last.reads, other)
                fused[-1] = Linear(reads=reads, writes=node.writes, matrices=last.matrices, accumulate=True)
            case _:
                fused.append(node)
    return fused


def _insert_twins(nodes: list[Node], *, refines: bool) -> list[Node]:
    """refines: products with exact weights read what the int8 form leaves over, too."""
    wanted: dict[Value, int] = {}
    for node in nodes:
        for matrix in node.products():
            wanted[node.reads[0]] = wanted.get(node.reads[0], 0) | activation_form(matrix.type_id)
    exact = {node.reads[0] for node in nodes if refines and _is_exact(node)} - _means(nodes)
    result: list[Node] = []
    rests: dict[Value, Value] = {}
    for node in nodes:
        if node.products() and (forms := wanted.pop(node.reads[0], 0)):
            x = node.reads[0]
            result.append(Quantize(reads=(x,), writes=(), forms=forms))
            if x in exact:
                rests[x] = rest = x.like(x.width)
                result.append(Rest(reads=(x,), writes=(rest,)))
                result.append(Quantize(reads=(rest,), writes=(), forms=REST_FORM))
        if isinstance(node, Linear | GatedLinear) and _is_exact(node) and node.reads[0] in rests:
            rest = rests[node.reads[0]]
            node = replace(node, reads=(*node.reads, rest), rest=rest)
        result.append(node)
    return result


def _means(nodes: list[Node]) -> set[Value]:
    """What attention gives, means of values, which have no channels that stand out: refining these moves nothing."""
    found: set[Value] = set()
    for node in nodes:
        if isinstance(node, Attention | RelativeAttention) or (isinstance(node, Select) and node.reads[0] in found):
            found.update(node.writes)
    return found


def _is_exact(node: Node) -> bool:
    """Do all matrices of a product deserve more of its input than one int8 form?"""
    return isinstance(node, Linear | GatedLinear) and all(
        matrix.type_id in _EXACT_TYPES and activation_form(matrix.type_id) == REST_FORM for matrix in node.products()
    )


def _multiplied(node: Node) -> tuple[Value, ...]:
    """The values whose twins a product reads."""
    rest = node.rest if isinstance(node, Linear | GatedLinear) else None
    return node.reads[:1] if rest is None else (node.reads[0], rest)


def _phases(nodes: list[Node]) -> list[int]:
    phases: list[int] = []
    phase = 0
    open_rows: tuple[RowSpace, int] | None = None  # of the row operations that the current phase consists of
    for node in nodes:
        row_wise = bool(node.kind) and is_row_wise(node.kind)
        rows = (node.rows_of.space, node.rows_of.fold)
        # These read rows that other threads own; only selections may share a phase, with each other.
        moves = isinstance(node, Select | Gather | Combine)
        follows = bool(phases) and isinstance(node, Select) and isinstance(nodes[len(phases) - 1], Select)
        if phases and (not row_wise or open_rows != rows or (moves and not follows)):
            phase += 1
        open_rows = rows if row_wise else None
        phases.append(phase)
    return phases


def _storage(nodes: list[Node]) -> dict[Value, Value]:
    storage: dict[Value, Value] = {}
    for node in nodes:
        for value in node.reads:
            storage.setdefault(value, value)
        home = node.aliases()
        for value in node.writes:
            storage[value] = value if home is None else storage[home]
            home = None
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
