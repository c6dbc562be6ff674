"""Mixtures of experts against their definition in NumPy, and their independence of company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama.errors import UnsupportedModelError
from oxillama.network import operations as op
from oxillama.network.experts import Routing, Scores, expert_ffn, route
from oxillama.network.graph import Graph
from oxillama.network.operations import SILU
from tests.network.running import Array, Network

WIDTH, N_FF, N_VOCAB = 32, 48, 20


def tensors(n_experts: int, *, bias: bool, fused: bool = False, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Array:
        return (rng.standard_normal(shape) / 3).astype(np.float32)

    found = {
        "token_embd.weight": normal(N_VOCAB, WIDTH) * 3,
        "router.weight": normal(n_experts, WIDTH),
        "b.ffn_down_exps.weight": normal(n_experts, WIDTH, N_FF),
        "b.ffn_down_exps.scale": normal(n_experts) + 1,
        "b.ffn_down_exps.bias": normal(n_experts, WIDTH),
        "choose.bias": normal(n_experts) * (3 if bias else 0),
    }
    gate, up = normal(n_experts, N_FF, WIDTH), normal(n_experts, N_FF, WIDTH)
    if fused:
        found["b.ffn_gate_up_exps.weight"] = np.concatenate([gate, up], axis=1)
    else:
        found |= {"b.ffn_gate_exps.weight": gate, "b.ffn_up_exps.weight": up}
    return found


def network(found: dict[str, Array], routing: Routing, n_threads: int = 1) -> Network:
    def describe(graph: Graph) -> None:
        x = op.embed(graph, "token_embd", n_vocab=N_VOCAB, width=WIDTH)
        scores = op.linear(graph, x, "router", width=routing.n_experts)
        choice = route(graph, scores, routing, bias=graph.vector("choose.bias", routing.n_experts))
        x = expert_ffn(graph, x, choice, "b", routing, n_ff=N_FF, function=SILU)
        graph.output(op.linear(graph, op.hidden(graph, op.select(graph, x)), "token_embd", width=N_VOCAB))

    return Network(found, describe, n_threads=n_threads)


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max())
    return np.asarray(e / e.sum())


def chosen(scores: Array, bias: Array, routing: Routing) -> tuple[list[int], Array]:
    """The experts of one token, ascending, and their weights."""
    match routing.scores:
        case Scores.SOFTMAX:
            weights = softmax(scores)
        case Scores.SIGMOID:
            weights = 1 / (1 + np.exp(-scores))
        case Scores.SQRT_SOFTPLUS:
            weights = np.sqrt(np.logaddexp(0, scores))
        case _:
            weights = scores
    wanted = weights + bias
    if routing.n_groups > 1:
        groups = wanted.reshape(routing.n_groups, -1)
        value = np.sort(groups, axis=1)[:, -2:].sum(axis=1)
        best = np.argsort(-value, kind="stable")[: routing.n_groups_used]
        mask = np.full(routing.n_groups, -np.inf)
        mask[best] = 0
        wanted = (groups + mask[:, None]).reshape(-1)
    experts = sorted(np.argsort(-wanted, kind="stable")[: routing.n_used].tolist())
    found = weights[experts]
    if routing.scores is Scores.CHOSEN_SOFTMAX:
        found = softmax(found)
    if routing.renormalises:
        found = found / max(found.sum(), routing.least)
    return experts, found * routing.scale


def by_definition(found: dict[str, Array], routing: Routing, tokens: list[int]) -> Array:
    wide = {name: values.astype(np.float64) for name, values in found.items()}
    if "b.ffn_gate_up_exps.weight" in wide:
        gate, up = np.split(wide["b.ffn_gate_up_exps.weight"], 2, axis=1)
    else:
        gate, up = wide["b.ffn_gate_exps.weight"], wide["b.ffn_up_exps.weight"]
    rows = []
    for token in tokens:
        x = wide["token_embd.weight"][token]
        total = np.zeros(WIDTH)
        experts, weights = chosen(wide["router.weight"] @ x, wide["choose.bias"], routing)
        for expert, weight in zip(experts, weights, strict=True):
            read = x * weight if routing.weighs_input else x
            g = gate[expert] @ read
            made = wide["b.ffn_down_exps.weight"][expert] @ (g / (1 + np.exp(-g)) * (up[expert] @ read))
            made = made * wide["b.ffn_down_exps.scale"][expert] + wide["b.ffn_down_exps.bias"][expert]
            total += made if routing.weighs_input else made * weight
        rows.append(wide["token_embd.weight"] @ total)
    return np.array(rows)


ROUTINGS = {
    "softmax": Routing(8, 2),
    "as_they_are": Routing(8, 3, renormalises=False),
    "all": Routing(4, 4),
    "one": Routing(5, 1, Scores.SIGMOID, renormalises=False, weighs_input=True),
    "sigmoid": Routing(8, 2, Scores.SIGMOID, scale=2.5, least=1e-20),
    "chosen": Routing(8, 4, Scores.CHOSEN_SOFTMAX, renormalises=False),
    "softplus": Routing(8, 2, Scores.SQRT_SOFTPLUS),
    "groups": Routing(12, 3, Scores.SIGMOID, n_groups=4, n_groups_used=2),
}


@pytest.mark.parametrize("name", ROUTINGS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_experts_are_right(name: str, bias: bool, fused: bool) -> None:
    routing = ROUTINGS[name]
    found = tensors(routing.n_experts, bias=bias, fused=fused)
    tokens = list(range(N_VOCAB))
    (out,) = network(found, routing).run(tokens)
    np.testing.assert_allclose(out, by_definition(found, routing, tokens), rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(ROUTINGS)),
    tokens=st.lists(st.integers(0, N_VOCAB - 1), min_size=1, max_size=60),
    n_threads=st.sampled_from([1, 2]),
)
def test_company_changes_no_bit(name: str, tokens: list[int], n_threads: int) -> None:
    routing = ROUTINGS[name]
    found = tensors(routing.n_experts, bias=True)
    (together,) = network(found, routing, n_threads).run(tokens)
    alone = network(found, routing)
    for token, row in zip(tokens, together, strict=True):
        assert np.array_equal(alone.run([token])[0][0], row)


def test_scores_that_are_no_numbers_do_no_harm() -> None:
    routing = ROUTINGS["groups"]
    found = tensors(routing.n_experts, bias=False)
    found["router.weight"][3] = np.nan
    found["token_embd.weight"][7] = np.inf
    out = network(found, routing).run(list(range(N_VOCAB)))[0]
    assert out.shape == (N_VOCAB, N_VOCAB)


def test_no_expert_is_chosen_twice_whatever_the_bias() -> None:
    routing = Routing(4, 2, renormalises=False)
    found = tensors(4, bias=False)
    found["choose.bias"][:] = [np.inf, 0, np.inf, np.inf]
    tokens = list(range(N_VOCAB))
    (out,) = network(found, routing).run(tokens)
    found["choose.bias"][:] = [3e38, 0, 3e38, 3e38]
    (expected,) = network(found, routing).run(tokens)
    assert np.array_equal(out, expected)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("routing", [(0, 1), (3, 4), (1 << 17, 2)])
def test_impossible_numbers_of_experts_are_refused(routing: tuple[int, int]) -> None:
    with pytest.raises(UnsupportedModelError, match="experts"):
        Routing(*routing)
