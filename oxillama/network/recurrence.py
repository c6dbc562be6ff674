"""Operations with a state: what a sequence carries from token to token.

Every network starts a sequence with zeros, and goes token by token in float32: the state after a token is the same
bits however a prompt is cut into steps. Matrices of a state have a key in each row and a value in each column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oxillama._core.network.recurrence import MAX_TAPS, RULES
from oxillama.errors import UnsupportedModelError
from oxillama.network.graph import Call, Graph, Node, StateHandle, Value, Vector

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CausalConvolution(Node):
    kind = "causal_convolution"
    state: StateHandle
    kept: int
    weight: Floats
    bias: Vector | None

    def call(self) -> Call:
        parameters = {"state": self.state.offset, "n_taps": len(self.weight), "kept": self.kept}
        return Call(vectors=(self.weight.reshape(-1), self.bias), parameters=parameters)


def causal_convolution(graph: Graph, x: Value, weight: Floats, *, bias: Vector | None = None) -> Value:
    """Each channel with its own taps: out[t] = bias + sum over i of weight[i] * x[t - n_taps + 1 + i], with zeros
    before the sequence.

    weight: float32 [n_taps, width]. Raises UnsupportedModelError for more taps than the core has room for."""
    n_taps = len(weight)
    if not 0 < n_taps <= MAX_TAPS:
        raise UnsupportedModelError(f"a convolution has {n_taps} taps, expected 1 to {MAX_TAPS}")
    state = graph.state((n_taps - 1) * x.width)
    weight = np.ascontiguousarray(weight, np.float32)
    return graph.append(
        CausalConvolution(
            reads=(x,), writes=(x.like(x.width),), state=state, kept=graph.keep(x.width), weight=weight, bias=bias
        )
    )


def previous_token(graph: Graph, x: Value) -> Value:
    """The row of the token before, zeros for the first: a token shift."""
    taps = np.zeros((2, x.width), np.float32)
    taps[0] = 1.0
    return causal_convolution(graph, x, taps)


@dataclass(frozen=True, eq=False)
class LinearRecurrence(Node):
    kind = "linear_recurrence"
    rule: str
    state: StateHandle
    kept: int
    n_heads: int
    n_key_heads: int
    is_tiled: bool
    has_step: bool
    constant: Floats | Vector | None

    def call(self) -> Call:
        return Call(
            vectors=(self.constant,),
            parameters={
                "state": self.state.offset,
                "rule": RULES[self.rule],
                "n_heads": self.n_heads,
                "n_key_heads": self.n_key_heads,
                "is_tiled": self.is_tiled,
                "k_dim": self.reads[1].width // self.n_key_heads,
                "v_dim": self.reads[2].width // self.n_heads,
                "has_step": self.has_step,
                "kept": self.kept,
            },
        )


def _recur(
    graph: Graph,
    rule: str,
    reads: tuple[Value, ...],
    *,
    n_heads: int,
    n_key_heads: int | None = None,
    is_tiled: bool = False,
    has_step: bool = False,
    constant: Floats | Vector | None = None,
) -> Value:
    key, value = reads[1], reads[2]
    n_key_heads = n_heads if n_key_heads is None else n_key_heads
    if n_heads % n_key_heads:
        raise UnsupportedModelError(
            f"a recurrence has {n_heads} heads of values and {n_key_heads} of keys, expected a multiple"
        )
    state = graph.state(key.width // n_key_heads * value.width)
    return graph.append(
        LinearRecurrence(
            reads=reads,
            writes=(value.like(value.width),),
            rule=rule,
            state=state,
            kept=graph.keep(sum(x.width for x in reads)),
            n_heads=n_heads,
            n_key_heads=n_key_heads,
            is_tiled=is_tiled,
            has_step=has_step,
            constant=constant,
        )
    )


def selective_scan(graph: Graph, q: Value, k: Value, v: Value, step: Value, rates: Floats) -> Value:
    """S = e^(step rates) S + k (step v)^T, S^T q, for each channel of v with its own decays (Gu and Dao 2023,
    arXiv:2312.00752).

    q, k: [n_state], the paper's C and B. v, step: [width]. rates: float32 [n_state, width]."""
    rates = np.ascontiguousarray(rates, np.float32).reshape(-1)
    return _recur(graph, "scan", (q, k, v, step), n_heads=1, has_step=True, constant=rates)


def decayed_sum(
    graph: Graph, q: Value, k: Value, v: Value, decay: Value, step: Value, *, n_heads: int, n_key_heads: int
) -> Value:
    """S = decay S + k (step v)^T, S^T q (Mamba-2: Dao and Gu 2024, arXiv:2405.21060). decay, step: [n_heads]; q, k:
    [n_key_heads * n_state], each for a stretch of heads."""
    return _recur(graph, "plain", (q, k, v, decay, step), n_heads=n_heads, n_key_heads=n_key_heads, has_step=True)


def delta_rule(
    graph: Graph,
    q: Value,
    k: Value,
    v: Value,
    decay: Value,
    rate: Value,
    *,
    n_heads: int,
    n_key_heads: int,
    is_tiled: bool = False,
) -> Value:
    """S = decay S; S = S + k (rate (v - S^T k))^T, S^T q (Yang et al. 2024, arXiv:2412.06464; by key: Kimi team 2025,
    arXiv:2510.26692).

    decay: [n_heads], or one for each key of each head. rate: [n_heads]. is_tiled: head h reads key head h modulo
    n_key_heads, else heads in a row share one."""
    reads = (q, k, v, decay, rate)
    return _recur(graph, "delta", reads, n_heads=n_heads, n_key_heads=n_key_heads, is_tiled=is_tiled, has_step=True)


def bonus_sum(graph: Graph, q: Value, k: Value, v: Value, decay: Value, bonus: Floats, *, n_heads: int) -> Value:
    """(S + diag(bonus) k v^T)^T q, then S = diag(decay) S + k v^T (RWKV-6: Peng et al. 2024, arXiv:2404.05892). bonus:
    float32 [n_heads * k_dim]."""
    return _recur(graph, "bonus", (q, k, v, decay), n_heads=n_heads, constant=bonus)


def paired_rule(graph: Graph, q: Value, k: Value, v: Value, decay: Value, a: Value, b: Value, *, n_heads: int) -> Value:
    """S = diag(decay) S + k v^T + b (S^T a)^T with S as it was, S^T q (RWKV-7: Peng et al. 2025, arXiv:2503.14456)."""
    return _recur(graph, "paired", (q, k, v, decay, a, b), n_heads=n_heads)


@dataclass(frozen=True, eq=False)
class AddConstant(Node):
    kind = "add_constant"
    constant: Floats | Vector

    def call(self) -> Call:
        return Call(vectors=(self.constant,))


def add_constant(graph: Graph, x: Value, constant: Floats | Vector) -> Value:
    """x plus the same row for all tokens."""
    return graph.append(AddConstant(reads=(x,), writes=(x.like(x.width),), constant=constant))


@dataclass(frozen=True, eq=False)
class MultiplyConstant(AddConstant):
    kind = "scale"


def multiply_constant(graph: Graph, x: Value, constant: Floats | Vector) -> Value:
    """x times the same row for all tokens, element by element."""
    return graph.append(MultiplyConstant(reads=(x,), writes=(x.like(x.width),), constant=constant))


@dataclass(frozen=True, eq=False)
class HeadProducts(Node):
    kind = "head_products"


def head_products(graph: Graph, x: Value, y: Value, *, n_heads: int) -> Value:
    """[n_heads] dot products of x and y, head by head."""
    return graph.append(HeadProducts(reads=(x, y), writes=(x.like(n_heads),)))
