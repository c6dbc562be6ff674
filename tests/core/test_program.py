"""A program takes only operations that fit, and only batches that it has room for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oxillama.network import operations as op
from oxillama.network.graph import Graph
from tests.network.running import N_BLOCKS, Network

TABLE = np.arange(25, dtype=np.float32).reshape(5, 5)


def network(max_tokens: int = 8) -> Network:
    def describe(graph: Graph) -> None:
        x = op.embed(graph, "emb", n_vocab=5, width=5)
        graph.output(op.scale(graph, op.select(graph, x), 2.0))

    return Network({"emb.weight": TABLE}, describe, max_tokens=max_tokens)


def test_rows_come_in_the_order_in_which_they_are_asked_for() -> None:
    program = network().program
    blocks = np.arange(1, dtype=np.int32)
    found = program.forward(np.array([4, 0, 2], np.int32), [(3, 0, blocks)], np.array([2, 0, 2], np.int32))
    assert np.array_equal(found, 2 * TABLE[[2, 4, 2]])


@pytest.mark.parametrize(
    ("tokens", "runs", "rows"),
    [
        ([1] * 9, [(9, 0, range(1))], [0]),  # more tokens than there is room for
        ([1, 1], [(1, 0, range(1))], [0]),  # runs that leave a token over
        ([1], [(0, 0, range(1)), (1, 0, range(1))], [0]),  # an empty run
        ([1], [(1, -1, range(1))], [0]),  # a position before the first
        ([1], [(1, 32, range(1))], [0]),  # a position behind the blocks
        ([1], [(1, 0, [N_BLOCKS])], [0]),  # a block that there is not
        ([1], [(1, 0, [-1])], [0]),
        ([1], [(1, 0, range(1))], [1]),  # a row that there is not
        ([1], [(1, 0, range(1))], [-1]),
        ([5], [(1, 0, range(1))], [0]),  # a token that there is not
        ([-1], [(1, 0, range(1))], [0]),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(tokens: list[int], runs: list[Any], rows: list[int]) -> None:
    arrays = [(n, first, np.array(list(blocks), np.int32)) for n, first, blocks in runs]
    with pytest.raises(ValueError, match=r"."):
        network().program.forward(np.array(tokens, np.int32), arrays, np.array(rows, np.int32))


def test_an_operation_has_the_parameters_of_its_row_and_no_others() -> None:
    program = network().program
    with pytest.raises((TypeError, ValueError)):
        program.append("scale", [0], [0], factor=1.0, colour=2.0)
    with pytest.raises((KeyError, TypeError, ValueError)):
        program.append("no such operation", [0], [0])
