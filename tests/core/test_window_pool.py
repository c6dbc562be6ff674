"""Stores with a window: what sequences give back, what stays for hits, and that nobody reads what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from oxillama._core.testing.scheduler_harness import KV_BLOCK
from tests.core.simulated_worker import Worker


def worker_of(n_windows: int = 40, window: int = KV_BLOCK, **options: Any) -> Worker:
    return Worker(n_windows=n_windows, window=window, **options)


def text(n: int, token: int = 1) -> list[int]:
    return [token] * n


def held(worker: Worker, request: int) -> int:
    state = worker.scheduler.request(request)
    return len(state["blocks"]) - state["n_left"]


def cached(worker: Worker, request: int) -> int:
    return worker.scheduler.request(request)["num_cached_tokens"]


@pytest.mark.parametrize("window", [1, 2, 31, 32, 33, 34, 64, 65, 100])
def test_a_sequence_holds_what_later_tokens_see_and_no_more(window: int) -> None:
    worker = worker_of(window=window, n_blocks=40)
    request = worker.add(text(200), max_output=300)
    most = (window - 1) // KV_BLOCK + 2
    while worker.scheduler.num_alive:
        worker.step()
        if worker.scheduler.num_alive:
            assert held(worker, request) <= most
            state = worker.scheduler.request(request)
            first_seen = max(0, state["num_computed_tokens"] + 1 - window)
            assert state["n_left"] * KV_BLOCK <= first_seen
    assert worker.pool.window_counts[2] == 0


def test_few_places_hold_many_long_sequences() -> None:
    worker = worker_of(n_windows=16, n_blocks=64, max_batch_tokens=64, max_batch_size=3)
    requests = [worker.add([token] * 300, max_output=200) for token in range(3)]
    worker.run(1000)
    assert worker.scheduler.stats["preemptions"] == 0
    assert all(len(worker.sent[request].sampled) == 200 for request in requests)


def test_refused_drafts_take_nothing_away() -> None:
    worker = worker_of(window=33)
    worker.add(text(60), max_output=100)
    while worker.scheduler.num_alive:
        # The simulated worker checks that every cell before the next token is still there.
        worker.step(draft=lambda _, expected: [*expected[:2], *[7] * 10])


def test_a_repeated_prompt_and_a_continued_one_are_hits() -> None:
    worker = worker_of(window=40)
    first = worker.add(text(200), max_output=80)
    worker.run(200)
    again = worker.add(text(200), max_output=1)
    worker.run(9)
    assert cached(worker, again) == 192
    talk = worker.sent[first].tokens
    longer = worker.add(talk + text(50, 3), max_output=1)
    worker.run(9)
    assert cached(worker, longer) == (len(talk) - 1) // KV_BLOCK * KV_BLOCK


def test_a_hit_without_what_its_next_token_sees_is_none() -> None:
    # Places for little more than one sequence, so that others need those that it left behind.
    worker = worker_of(n_windows=8, window=64, max_batch_tokens=64, max_batch_size=1)
    worker.add(text(640), max_output=1)
    worker.run(30)
    other = worker.add(text(160) + text(100, 2), max_output=1)
    worker.run(30)
    assert cached(worker, other) == 0, "what comes before the place where they part has gone"
    third = worker.add(text(160) + text(100, 3), max_output=1)
    worker.run(30)
    assert cached(worker, third) == 160, "the second has left it for the third"


def test_what_is_computed_again_serves_the_cached_block() -> None:
    worker = worker_of(n_windows=8, window=64, max_batch_tokens=64, max_batch_size=1)
    worker.add(text(320), max_output=1)
    worker.run(30)
    n_cached = len(worker.pool.cached)
    worker.add(text(320) + text(1, 2), max_output=1, cache_prompt=True)
    worker.add(text(320, 2), max_output=1)
    worker.run(60)
    again = worker.add(text(320), max_output=1)
    worker.run(30)
    assert len(worker.pool.cached) >= n_cached
    assert len({tuple(state["tokens"]) for state in worker.pool.blocks if state["indexed"]}) == 2
    assert cached(worker, again) in range(0, 320, KV_BLOCK)


def test_a_block_that_leaves_the_index_takes_its_place_along() -> None:
    worker = worker_of(n_windows=20)
    worker.add(text(100), max_output=1)
    worker.run(9)
    assert worker.pool.window_counts[1] > 0
    worker.pool.forget()
    assert worker.pool.window_counts == (20, 0, 0)


def test_without_a_prefix_cache_what_is_left_is_free() -> None:
    worker = worker_of(n_windows=20, prefix_cache=False)
    worker.add(text(300), max_output=4)
    worker.run(20)
    assert worker.pool.window_counts == (20, 0, 0)


def test_where_places_are_short_nobody_is_stuck() -> None:
    worker = worker_of(n_windows=5, window=40, max_batch_tokens=128, n_blocks=64, max_batch_size=4)
    requests = [worker.add([token] * 150, max_output=90) for token in range(4)]
    worker.run(4000)
    assert all(len(worker.sent[request].sampled) == 90 for request in requests)


def test_preemption_goes_on_from_a_hit() -> None:
    worker = worker_of(n_blocks=10, n_windows=9, max_batch_tokens=64, n_ctx=256)
    requests = [worker.add(text(60, token), max_output=120) for token in (1, 2)]
    worker.run(2000)
    assert worker.scheduler.stats["preemptions"] > 0
    assert all(len(worker.sent[request].sampled) == 120 for request in requests)


def test_windows_and_states_both_have_to_be_there() -> None:
    worker = worker_of(n_snapshots=16, snapshot_tokens=2 * KV_BLOCK, window=50)
    worker.add(text(300), max_output=1)
    worker.run(9)
    again = worker.add(text(300), max_output=1)
    worker.run(9)
    assert cached(worker, again) == 288
