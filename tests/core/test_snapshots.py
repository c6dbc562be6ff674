"""Snapshots of recurrent states: where they are made, who begins with them, and what becomes of them."""

from __future__ import annotations

from typing import Any

from oxillama._core.testing.scheduler_harness import KV_BLOCK
from tests.core.simulated_worker import NONE, STOP, Worker


def kept(worker: Worker) -> list[int]:
    """The depths, in tokens, of the blocks whose end has a snapshot."""
    blocks = worker.pool.blocks

    def depth(block: int) -> int:
        return 0 if block < 0 else KV_BLOCK + depth(blocks[block]["parent"])

    return sorted(depth(block) for block, _, _ in worker.pool.snapshots if block >= 0)


def worker_of(n_snapshots: int = 16, snapshot_blocks: int = 4, **options: Any) -> Worker:
    return Worker(n_snapshots=n_snapshots, snapshot_tokens=snapshot_blocks * KV_BLOCK, **options)


def cached(worker: Worker, request: int) -> int:
    return worker.scheduler.request(request)["num_cached_tokens"]


def text(n: int, token: int = 1) -> list[int]:
    return [token] * n


def test_they_are_made_at_distances_and_before_the_end_of_a_prompt() -> None:
    worker = worker_of(max_batch_tokens=512)
    worker.add(text(300), max_output=1)
    worker.run(9)
    assert kept(worker) == [128, 256, 288]
    again = worker.add(text(300), max_output=1)
    worker.run(9)
    assert cached(worker, again) == 288
    longer = worker.add(text(290) + text(50, 2), max_output=1)
    worker.run(9)
    assert cached(worker, longer) == 288
    assert kept(worker) == [128, 256, 288, 320]


def test_a_prompt_that_ends_with_a_block_can_be_repeated() -> None:
    worker = worker_of()
    worker.add(text(64), max_output=1)
    worker.run(9)
    assert kept(worker) == [32, 64]
    again = worker.add(text(64), max_output=1)
    worker.run(9)
    assert cached(worker, again) == 32, "one token is always computed"


def test_an_output_leaves_the_last_one_and_no_more() -> None:
    worker = worker_of(snapshot_blocks=100)
    first = worker.add(text(40), max_output=200)
    worker.run(300)
    assert kept(worker) == [32, 224]
    talk = worker.sent[first].tokens
    again = worker.add(talk + text(5), max_output=1)
    worker.run(9)
    assert cached(worker, again) == 224


def test_where_prompts_part_the_second_leaves_one_for_the_third() -> None:
    worker = worker_of(snapshot_blocks=100)
    requests = []
    for i in range(3):
        requests.append(worker.add(text(100) + text(200, 2 + i), max_output=1))
        worker.run(20)
    assert [cached(worker, request) for request in requests] == [0, 0, 96]


def test_a_hit_has_all_of_a_state_or_nothing() -> None:
    worker = worker_of(n_snapshots=1, snapshot_blocks=100)
    worker.add(text(100), max_output=1)
    worker.run(9)
    worker.add(text(100, 2), max_output=1)
    worker.run(9)
    assert kept(worker) == [96], "the other's took its place"
    again = worker.add(text(100), max_output=1)
    worker.run(9)
    assert cached(worker, again) == 0


def test_of_equal_prompts_the_first_computes_up_to_its_snapshot() -> None:
    worker = worker_of(max_batch_tokens=64, snapshot_blocks=3)
    requests = [worker.add(text(140), max_output=2) for _ in range(3)]
    worker.run(50)
    assert [cached(worker, request) for request in requests] == [0, 128, 128]


def test_one_that_will_be_read_is_not_written() -> None:
    worker = worker_of(n_snapshots=1, max_batch_tokens=64, max_batch_size=2)
    worker.add(text(40), max_output=1)
    worker.run(9)
    hit = worker.add(text(40), max_output=40)
    worker.add(text(200, 2), max_output=1)
    worker.schedule()
    assert worker.scheduler.request(hit)["restored"] >= 0
    # Planned again without having been run: still there, and read once.
    worker.step()
    assert worker.scheduler.request(hit)["restored"] == -1
    worker.run(200)
    assert cached(worker, hit) == 32


def test_refused_drafts_leave_none_beyond_what_is_true() -> None:
    worker = worker_of(snapshot_blocks=1)
    request = worker.add(text(24), max_output=60)
    while worker.scheduler.num_alive:
        worker.step(draft=lambda _, expected: [*expected[:3], 7, 7, 7, 7, 7, 7, 7, 7])
    depths = kept(worker)
    assert depths == [32, 64]
    assert len(worker.sent[request].tokens) == 84


def test_an_end_amid_a_step_keeps_what_was_accepted() -> None:
    worker = worker_of(snapshot_blocks=100)
    worker.add(text(26), max_output=60)
    worker.step()
    # Nine known or right tokens reach the end of the block, and the output stops there.
    worker.step(lambda _, n: STOP if n >= 9 else NONE, draft=lambda _, expected: expected[:12])
    assert not worker.scheduler.num_alive
    assert kept(worker) == [32]


def test_preemption_goes_on_from_the_last_one() -> None:
    worker = worker_of(n_blocks=8, max_batch_tokens=64, n_ctx=256, snapshot_blocks=1)
    requests = [worker.add(text(60, token), max_output=90) for token in (1, 2)]
    worker.run(2000)
    assert worker.scheduler.stats["preemptions"] > 0
    assert all(len(worker.sent[request].sampled) == 90 for request in requests)
