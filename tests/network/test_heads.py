"""Products of each head with a matrix of its own against NumPy, and their independence of company."""

from __future__ import annotations

import numpy as np
import pytest

from oxillama.network import operations as op
from oxillama.network.graph import Graph
from oxillama.network.heads import head_product
from tests.network.running import Array, Network

N_HEADS, PART, OFFSET, K, ROWS, N_VOCAB = 3, 24, 8, 16, 40, 20


def tensors() -> dict[str, Array]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    return {
        "token_embd.weight": normal(N_VOCAB, N_HEADS * PART),
        "b.weight": normal(N_HEADS, ROWS, K),
        "b.scale": normal(N_HEADS),
        "output.weight": normal(N_VOCAB, N_HEADS * ROWS),
    }


def network(found: dict[str, Array], n_threads: int = 1) -> Network:
    def describe(graph: Graph) -> None:
        x = op.embed(graph, "token_embd", n_vocab=N_VOCAB, width=N_HEADS * PART)
        x = head_product(graph, x, "b", n_heads=N_HEADS, k=K, width=ROWS, offset=OFFSET)
        graph.output(op.linear(graph, op.hidden(graph, op.select(graph, x)), "output", width=N_VOCAB))

    return Network(found, describe, n_threads=n_threads)


def by_definition(found: dict[str, Array], tokens: list[int]) -> Array:
    wide = {name: values.astype(np.float64) for name, values in found.items()}
    heads = wide["token_embd.weight"][tokens].reshape(len(tokens), N_HEADS, PART)[:, :, OFFSET : OFFSET + K]
    made = np.einsum("thk,hrk->thr", heads, wide["b.weight"]) * wide["b.scale"][:, None]
    return np.asarray(made.reshape(len(tokens), -1) @ wide["output.weight"].T)


TOKENS = [3, 19, 0, 7, 3]


def test_each_head_has_its_own_matrix() -> None:
    found = tensors()
    assert np.abs(network(found).run(TOKENS)[0] - by_definition(found, TOKENS)).max() < 1e-3


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_company_changes_no_bit(n_threads: int) -> None:
    found = tensors()
    together = network(found, n_threads).run(TOKENS)[0]
    alone = np.concatenate([network(found).run([token])[0] for token in TOKENS])
    assert np.array_equal(together, alone)
