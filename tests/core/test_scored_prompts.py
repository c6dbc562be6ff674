"""Prompts of which the last tokens are scored: what is before them is no reason to compute it again."""

from __future__ import annotations

import pytest

from tests.core.simulated_worker import Worker


def prompt(n: int, first: int = 0) -> list[int]:
    return list(range(first, first + n))


def cached(worker: Worker, request: int) -> int:
    return worker.scheduler.request(request)["num_cached_tokens"]


def test_rows_of_a_scored_prompt_are_the_last_ones() -> None:
    worker = Worker(max_batch_tokens=32)
    scored = worker.add(prompt(70), scores_prompt=True, first_scored=40)
    plans = [worker.step() for _ in range(3)]
    assert [plan[0][:5] for plan in plans] == [(scored, 0, 32, 0, 0), (scored, 32, 32, 24, 0), (scored, 64, 6, 6, 1)]
    late = worker.add(prompt(20, 100), max_output=1, scores_prompt=True, first_scored=99)
    assert (late, 0, 20, 1, 1) in {item[:5] for item in worker.step()}


@pytest.mark.parametrize(("first", "expected"), [(0, 0), (31, 0), (32, 32), (95, 64), (96, 96), (99, 96), (500, 96)])
def test_of_a_scored_prompt_what_is_before_the_first_score_is_looked_up(first: int, expected: int) -> None:
    worker = Worker()
    worker.add(prompt(100), max_output=1)
    worker.run(20)
    scored = worker.add(prompt(100), max_output=0, scores_prompt=True, first_scored=first)
    worker.run(20)
    assert cached(worker, scored) == expected


def test_scored_prompts_that_begin_alike_compute_that_once() -> None:
    worker = Worker(64, max_batch_tokens=512)
    requests = [
        worker.add([*prompt(96), *prompt(10, 200 + i)], max_output=0, scores_prompt=True, first_scored=95)
        for i in range(3)
    ]
    worker.run(20)
    assert [cached(worker, request) for request in requests] == [0, 64, 64]
    assert worker.scheduler.stats["prompt_tokens"] == 106 + 2 * 42


def test_what_is_not_scored_is_not_held_up_by_the_room_for_rows() -> None:
    worker = Worker(64, max_batch_tokens=512, n_prompt_outputs=8)
    scored = worker.add(prompt(200), max_output=0, scores_prompt=True, first_scored=196)
    assert [item[:5] for item in worker.step()] == [(scored, 0, 200, 4, 0)]
