"""Mixtures of experts (Shazeer et al. 2017, arXiv:1701.06538): routing, the experts' feed-forward networks, their sum.

A router's row of scores becomes a *choice*: the numbers of the chosen experts, ascending, and their weights. From there
on a value has one row for each expert of a token (`fold`), in the order of the experts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from oxillama.errors import UnsupportedModelError
from oxillama.network.graph import Call, Graph, Matrix, Node, Value, Vector
from oxillama.network.operations import Activation, activate, bounded

MAX_GROUPS = 64  # of experts
MAX_EXPERTS = 1 << 16  # their numbers pass through float32


class Scores(IntEnum):
    """How the scores of a token become the weights of its experts; the numbers are the core's."""

    SOFTMAX = 0  # of all experts
    SIGMOID = 1  # each by itself
    CHOSEN_SOFTMAX = 2  # of those that were chosen, by their raw scores
    SQRT_SOFTPLUS = 3  # each by itself
    RAW = 4  # as they are


@dataclass(frozen=True)
class Routing:
    """n_groups, n_groups_used: experts are chosen among those of the best groups (DeepSeek-V3, arXiv:2412.19437).
    renormalises: the weights of a token are divided by their sum, which counts at least `least`. scale: then times
    this. weighs_input: the weight multiplies what an expert reads, not what it writes."""

    n_experts: int
    n_used: int
    scores: Scores = Scores.SOFTMAX
    n_groups: int = 1
    n_groups_used: int = 1
    renormalises: bool = True
    scale: float = 1.0
    least: float = 0.0
    weighs_input: bool = False

    def __post_init__(self) -> None:
        sound = (
            0 < self.n_used <= self.n_experts <= MAX_EXPERTS and 0 < self.n_groups_used <= self.n_groups <= MAX_GROUPS
        )
        if not sound or self.n_experts % self.n_groups:
            raise UnsupportedModelError(
                f"{self.n_used} of {self.n_experts} experts in {self.n_groups_used} of {self.n_groups} groups: "
                f"expected groups of one size, at most {MAX_GROUPS} of them and {MAX_EXPERTS} experts, and no more "
                "chosen than there are"
            )


@dataclass(frozen=True, eq=False)
class Route(Node):
    kind = "route"
    routing: Routing
    bias: Vector | None

    def call(self) -> Call:
        routing = self.routing
        return Call(
            vectors=(self.bias,),
            parameters={
                "n_experts": routing.n_experts,
                "n_used": routing.n_used,
                "scores": routing.scores,
                "n_groups": routing.n_groups,
                "n_groups_used": routing.n_groups_used,
                "renormalises": routing.renormalises,
                "scale": routing.scale,
                "least": routing.least,
            },
        )


@dataclass(frozen=True, eq=False)
class Dispatch(Node):
    """Puts the rows of all tokens into the order of the experts; everything that follows reads it."""

    kind = "dispatch"
    routing: Routing

    def call(self) -> Call:
        return Call(parameters={"n_experts": self.routing.n_experts, "n_used": self.routing.n_used})

    @property
    def rows_of(self) -> Value:
        return self.reads[0]


@dataclass(frozen=True, eq=False)
class Gather(Node):
    kind = "gather"
    routing: Routing

    def call(self) -> Call:
        return Call(
            parameters={
                "n_experts": self.routing.n_experts,
                "n_used": self.routing.n_used,
                "weighs": self.routing.weighs_input,
            }
        )


@dataclass(frozen=True, eq=False)
class ExpertLinear(Node):
    """The product of each row with its expert's matrix; with two matrices f(first) * second."""

    kind = "expert_product"
    matrices: tuple[Matrix, ...]
    function: Activation | None

    def call(self) -> Call:
        numbers = self.function.numbers() if self.function else {}
        scales = tuple(matrix.scale for matrix in self.matrices)
        return Call(self.matrices, scales, {"n_experts": self.matrices[0].stack} | numbers)

    def products(self) -> tuple[Matrix, ...]:
        return self.matrices


@dataclass(frozen=True, eq=False)
class Combine(Node):
    kind = "combine"
    routing: Routing

    def call(self) -> Call:
        return Call(
            parameters={
                "n_experts": self.routing.n_experts,
                "n_used": self.routing.n_used,
                "was_weighed": self.routing.weighs_input,
            }
        )


def route(graph: Graph, scores: Value, routing: Routing, *, bias: Vector | None = None) -> Value:
    """A token's choice from its row of scores, one for each expert. bias: [n_experts] values that are added to choose,
    but not to weigh."""
    choice, first, second = scores.like(2 * routing.n_used), scores.like(scores.width), scores.like(scores.width)
    graph.append(Route(reads=(scores,), writes=(choice, first, second), routing=routing, bias=bias))
    graph.append(Dispatch(reads=(choice,), writes=(), routing=routing))
    return choice


def gather(graph: Graph, x: Value, choice: Value, routing: Routing) -> Value:
    """A row for each expert of each token of x."""
    out = Value(x.width, x.space, x.fold * routing.n_used)
    return graph.append(Gather(reads=(x, choice), writes=(out,), routing=routing))


def expert_linear(graph: Graph, x: Value, matrix: Matrix) -> Value:
    return graph.append(ExpertLinear(reads=(x,), writes=(x.like(matrix.rows),), matrices=(matrix,), function=None))


def expert_gated(graph: Graph, x: Value, gate: Matrix, up: Matrix, function: Activation) -> Value:
    """f(gate . x) * (up . x), each with the matrices of the row's expert."""
    return graph.append(ExpertLinear(reads=(x,), writes=(x.like(gate.rows),), matrices=(gate, up), function=function))


def combine(graph: Graph, x: Value, choice: Value, routing: Routing) -> Value:
    """The sum of each token's rows, by its weights."""
    out = choice.like(x.width)
    return graph.append(Combine(reads=(x, choice), writes=(out,), routing=routing))


def expert_ffn(
    graph: Graph,
    x: Value,
    choice: Value,
    block: str,
    routing: Routing,
    *,
    n_ff: int,
    function: Activation,
    bound: float = 0.0,
) -> Value:
    """The feed-forward networks of the experts, by the usual names of their tensors under `block`: gated where there
    is a gate, which may be fused with the other factor. bound: of both factors of a gated one, the first after its
    function; 0 without."""
    rows = gather(graph, x, choice, routing)
    stack, k = routing.n_experts, x.width
    if graph.has(f"{block}.ffn_gate_up_exps.weight"):
        pair = tuple(
            graph.stack(f"{block}.ffn_gate_up_exps", k=k, rows=n_ff, stack=stack, first=first, of=2 * n_ff)
            for first in (0, n_ff)
        )
    else:
        names = [f"{block}.ffn_gate_exps", f"{block}.ffn_up_exps"]
        pair = tuple(graph.stack(name, k=k, rows=n_ff, stack=stack) for name in names if graph.has(f"{name}.weight"))
    match pair:
        case (gate, up) if bound:
            hidden = bounded(graph, expert_linear(graph, rows, gate), expert_linear(graph, rows, up), function, bound)
        case (gate, up):
            hidden = expert_gated(graph, rows, gate, up, function)
        case _:
            up = graph.stack(f"{block}.ffn_up_exps", k=k, rows=n_ff, stack=stack)
            hidden = activate(graph, expert_linear(graph, rows, up), function)
    down = graph.stack(f"{block}.ffn_down_exps", k=n_ff, rows=k, stack=stack)
    return combine(graph, expert_linear(graph, hidden, down), choice, routing)
