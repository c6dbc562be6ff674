"""Which blocks a sequence has: what it takes over from a prefix, and what it leaves to others."""

from __future__ import annotations

import pytest

from oxillama._core.testing.scheduler_harness import KV_BLOCK
from tests.core.simulated_worker import Worker


def computed(worker: Worker) -> dict[int, list[tuple[int, int]]]:
    """(first position, tokens) of each request's share of a step."""
    return {item.request: [(item.first_position, item.n_tokens)] for item in worker.step()}


@pytest.mark.parametrize("n_prompt", [1, KV_BLOCK - 1, KV_BLOCK, KV_BLOCK + 1, 3 * KV_BLOCK, 3 * KV_BLOCK + 5])
def test_whole_blocks_are_taken_over_but_the_last_token_is_computed(n_prompt: int) -> None:
    worker = Worker(64)
    prompt = list(range(n_prompt))
    first = worker.add(prompt, max_output=1)
    assert computed(worker)[first] == [(0, n_prompt)]
    second = worker.add(prompt, max_output=1)
    start = (n_prompt - 1) // KV_BLOCK * KV_BLOCK
    assert computed(worker)[second] == [(start, n_prompt - start)]


def test_a_prefix_ends_where_the_tokens_part() -> None:
    worker = Worker(64)
    worker.add([1] * 100, max_output=1)
    worker.step()
    other = worker.add([1] * 70 + [2] * 30, max_output=1)
    assert computed(worker)[other] == [(64, 36)]
    strange = worker.add([2, *[1] * 99], max_output=1)
    assert computed(worker)[strange] == [(0, 100)]


def test_domains_share_nothing() -> None:
    worker = Worker(64)
    worker.add([1] * 100, max_output=1, domain=(0, 1, 0))
    worker.step()
    for domain, start in (((0, 0, 0), 0), ((1, 1, 0), 0), ((0, 1, 1), 0), ((0, 1, 0), 96)):
        request = worker.add([1] * 100, max_output=1, domain=domain)
        assert computed(worker)[request] == [(start, 100 - start)]


def test_who_computes_a_block_is_waited_for_by_those_who_need_it() -> None:
    worker = Worker(64, max_batch_tokens=64)
    leader = worker.add([1] * 160, max_output=1)
    follower = worker.add([1] * 160, max_output=1)
    shares: dict[int, int] = {leader: 0, follower: 0}
    for _ in range(6):
        for request, parts in computed(worker).items():
            shares[request] += sum(n for _, n in parts)
    assert shares == {leader: 160, follower: 32}
