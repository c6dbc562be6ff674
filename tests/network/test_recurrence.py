"""Operations with a state in a network of their own: against NumPy, and the same bits however a prompt is cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from oxillama import UnsupportedModelError
from oxillama.network import operations as op
from oxillama.network import recurrence as rec
from oxillama.network.graph import Graph, Value
from tests.core.test_recurrence import definition
from tests.levels import check_at, other_levels
from tests.network.running import Network

Array = npt.NDArray[Any]
N_VOCAB, WIDTH = 23, 40
RANDOM = np.random.default_rng(5)
TOKENS = [int(token) for token in RANDOM.integers(0, N_VOCAB, 30)]
OTHERS = [int(token) for token in RANDOM.integers(0, N_VOCAB, 30)]
EMBEDDING = RANDOM.standard_normal((N_VOCAB, WIDTH)).astype(np.float32)
TAPS = RANDOM.standard_normal((4, WIDTH)).astype(np.float32)
BIAS = RANDOM.standard_normal(WIDTH).astype(np.float32)
N_HEADS, N_KEY_HEADS, DIM = 4, 2, 10  # WIDTH = N_HEADS * DIM
RATES = -RANDOM.uniform(0.1, 1.0, (DIM, WIDTH)).astype(np.float32)
BONUS = RANDOM.standard_normal(WIDTH).astype(np.float32)


def sigmoid(graph: Graph, x: Value) -> Value:
    return op.activate(graph, x, op.SIGMOID)


def part(graph: Graph, x: Value, offset: int, width: int) -> Value:
    return op.slice_columns(graph, x, offset=offset, width=width)


def convolution(graph: Graph, x: Value) -> Value:
    return rec.causal_convolution(graph, x, TAPS, bias=graph.vector("bias", WIDTH))


def shift(graph: Graph, x: Value) -> Value:
    return rec.previous_token(graph, x)


def scan(graph: Graph, x: Value) -> Value:
    return rec.selective_scan(graph, part(graph, x, 0, DIM), part(graph, x, DIM, DIM), x, sigmoid(graph, x), RATES)


def plain(graph: Graph, x: Value) -> Value:
    keys = N_KEY_HEADS * DIM
    q, k = part(graph, x, 0, keys), part(graph, x, keys, keys)
    steps = sigmoid(graph, part(graph, x, 3, N_HEADS))
    decay = sigmoid(graph, part(graph, x, 9, N_HEADS))
    return rec.decayed_sum(graph, q, k, x, decay, steps, n_heads=N_HEADS, n_key_heads=N_KEY_HEADS)


def delta(graph: Graph, x: Value, *, is_tiled: bool = False, by_key: bool = False) -> Value:
    keys = N_HEADS * DIM if by_key else N_KEY_HEADS * DIM
    q, k = (op.scale(graph, part(graph, x, 0 if by_key else i, keys), 0.3) for i in (0, keys))
    return rec.delta_rule(
        graph,
        q,
        k,
        x,
        sigmoid(graph, x if by_key else part(graph, x, 9, N_HEADS)),
        sigmoid(graph, part(graph, x, 3, N_HEADS)),
        n_heads=N_HEADS,
        n_key_heads=N_HEADS if by_key else N_KEY_HEADS,
        is_tiled=is_tiled,
    )


def bonus(graph: Graph, x: Value) -> Value:
    return rec.bonus_sum(graph, x, op.scale(graph, x, 0.3), x, sigmoid(graph, x), BONUS, n_heads=N_HEADS)


def paired(graph: Graph, x: Value) -> Value:
    a = op.scale(graph, x, 0.2)
    b = op.multiply(graph, op.scale(graph, x, -0.2), sigmoid(graph, x))
    return rec.paired_rule(graph, x, a, x, sigmoid(graph, x), a, b, n_heads=N_HEADS)


OPERATIONS: dict[str, Callable[[Graph, Value], Value]] = {
    "convolution": convolution,
    "shift": shift,
    "scan": scan,
    "plain": plain,
    "delta": delta,
    "tiled delta": lambda graph, x: delta(graph, x, is_tiled=True),
    "delta by key": lambda graph, x: delta(graph, x, by_key=True),
    "bonus": bonus,
    "paired": paired,
}


def network(name: str, n_threads: int = 1) -> Network:
    def describe(graph: Graph) -> None:
        x = OPERATIONS[name](graph, op.embed(graph, "embedding", n_vocab=N_VOCAB, width=WIDTH))
        graph.output(op.hidden(graph, op.select(graph, x)))

    return Network({"embedding.weight": EMBEDDING, "bias": BIAS}, describe, n_threads=n_threads)


def heads(x: Array, n: int) -> Array:
    """[tokens, n * d] as [n, tokens, d]."""
    return np.ascontiguousarray(np.moveaxis(x.reshape(len(x), n, -1), 1, 0))


def by_head(rule: str, inputs: dict[str, Array], constants: dict[str, Array], key_head: Callable[[int], int]) -> Array:
    """The recurrence of each head by its definition, the heads' results one after another."""
    out = []
    for head in range(N_HEADS):
        own = {
            name: x[key_head(head)] if name in ("q", "k") and len(x) < N_HEADS else x[head]
            for name, x in inputs.items()
        }
        own |= {name: x[head] for name, x in constants.items()}
        state = np.zeros((own["k"].shape[1], own["v"].shape[1]))
        out.append(definition(rule, state, own))
    return np.concatenate(out, axis=1)


def expected(name: str) -> Array:
    x = EMBEDDING[TOKENS].astype(np.float64)
    gate = 1 / (1 + np.exp(-x))
    if name in ("convolution", "shift"):
        taps = TAPS if name == "convolution" else np.eye(2, 1) * np.ones(WIDTH)
        padded = np.concatenate([np.zeros((len(taps) - 1, WIDTH)), x])
        total = np.sum([taps[i] * padded[i : i + len(x)] for i in range(len(taps))], axis=0)
        return np.asarray(total + (BIAS if name == "convolution" else 0))
    inputs: dict[str, Array]
    if name == "scan":
        inputs = {"q": x[:, :DIM], "k": x[:, DIM : 2 * DIM], "v": x, "step": gate, "rates": RATES}
        return definition("scan", np.zeros((DIM, WIDTH)), inputs)
    values = heads(x, N_HEADS)
    if name == "bonus":
        inputs = {"q": values, "k": 0.3 * values, "v": values, "decay": heads(gate, N_HEADS)}
        return by_head("bonus", inputs, {"bonus": BONUS.reshape(N_HEADS, DIM)}, lambda head: head)
    if name == "paired":
        inputs = {"q": values, "k": 0.2 * values, "v": values, "decay": heads(gate, N_HEADS)}
        inputs |= {"a": 0.2 * values, "b": heads(-0.2 * x * gate, N_HEADS)}
        return by_head("paired", inputs, {}, lambda head: head)
    keys = N_KEY_HEADS * DIM
    factor = 1.0 if name == "plain" else 0.3
    inputs = {
        "q": factor * heads(x[:, :keys], N_KEY_HEADS),
        "k": factor * heads(x[:, keys : 2 * keys], N_KEY_HEADS),
        "v": values,
        "decay": heads(gate[:, 9 : 9 + N_HEADS], N_HEADS),
        "step": heads(gate[:, 3 : 3 + N_HEADS], N_HEADS),
    }
    if name == "delta by key":
        inputs |= {"q": factor * values, "k": factor * values, "decay": heads(gate, N_HEADS)}
    rule = "plain" if name == "plain" else "delta"
    shared = N_HEADS // N_KEY_HEADS
    return by_head(rule, inputs, {}, lambda head: head % N_KEY_HEADS if name == "tiled delta" else head // shared)


@pytest.mark.parametrize("name", OPERATIONS)
def test_against_the_definition(name: str) -> None:
    found = network(name).run(TOKENS)[0]
    np.testing.assert_allclose(found, expected(name), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_bit_depends_on_chunks_company_threads_or_what_the_slot_held(name: str) -> None:
    alone = network(name)
    whole, others = alone.run(TOKENS)[0], alone.run(OTHERS)[0]
    # The slot has just been another sequence's, whose state must not be seen.
    assert np.array_equal(alone.run(TOKENS)[0], whole)
    for n_threads in (1, 2):
        together = network(name, n_threads)
        rows: list[list[Array]] = [[], []]
        # Chunks of one token, fewer than a convolution has taps, and many; each with a neighbour at another place.
        for (first, end), (other_first, other_end) in (
            ((0, 1), (0, 2)),
            ((1, 3), (2, 13)),
            ((3, 4), (13, 14)),
            ((4, 20), (14, 17)),
            ((20, 30), (17, 30)),
        ):
            found = together.run(TOKENS[first:end], OTHERS[other_first:other_end], first_positions=[first, other_first])
            rows[0].append(found[0])
            rows[1].append(found[1])
        assert np.array_equal(np.concatenate(rows[0]), whole)
        assert np.array_equal(np.concatenate(rows[1]), others)


def test_products_of_heads_and_constants() -> None:
    def describe(graph: Graph) -> None:
        x = op.embed(graph, "embedding", n_vocab=N_VOCAB, width=WIDTH)
        y = rec.multiply_constant(graph, rec.add_constant(graph, x, BIAS), graph.vector("bias", WIDTH))
        products = rec.head_products(graph, x, y, n_heads=N_HEADS)
        graph.output(op.hidden(graph, op.select(graph, products)))

    # As wide as a row of the result, so the vocabulary has as many tokens.
    tokens = [token % N_HEADS for token in TOKENS]
    found = Network({"embedding.weight": EMBEDDING, "bias": BIAS}, describe).run(tokens)[0]
    x = EMBEDDING[tokens].astype(np.float64)
    wide = (x * (x + BIAS) * BIAS).reshape(len(tokens), N_HEADS, DIM).sum(axis=2)
    np.testing.assert_allclose(found, wide, rtol=1e-5, atol=1e-5)


def test_what_the_core_has_no_room_for_is_refused() -> None:
    def many_taps(graph: Graph, x: Value) -> Value:
        return rec.causal_convolution(graph, x, np.zeros((17, WIDTH), np.float32))

    def uneven_heads(graph: Graph, x: Value) -> Value:
        decay = part(graph, x, 0, 4)
        return rec.decayed_sum(graph, x, x, x, decay, decay, n_heads=4, n_key_heads=3)

    for describe, message in ((many_taps, "a convolution has 17 taps"), (uneven_heads, "4 heads of values and 3")):
        with pytest.raises(UnsupportedModelError, match=message):
            Network(
                {"embedding.weight": EMBEDDING},
                lambda graph, describe=describe: graph.output(  # type: ignore[misc]
                    describe(graph, op.embed(graph, "embedding", n_vocab=N_VOCAB, width=WIDTH))
                ),
            )


@pytest.mark.parametrize("level", other_levels())
def test_every_other_level(level: str) -> None:
    check_at(level, __file__)
