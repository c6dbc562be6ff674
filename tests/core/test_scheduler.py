"""The scheduler's decisions one by one: sharing of a step, order, preemption, prefix reuse, and how requests end."""

from __future__ import annotations

import pytest

from oxillama._core.testing.scheduler_harness import KV_BLOCK, BlockPool, PlanItem, Scheduler
from tests.core.simulated_worker import (
    CANCELLED,
    CLOSED,
    DEADLINE,
    EMBED,
    ERROR,
    EVALUATE,
    LENGTH,
    NONE,
    SECOND,
    STOP,
    Worker,
)

MILLISECOND = 1_000_000


def prompt(n: int, first: int = 0) -> list[int]:
    return list(range(first, first + n))


def tokens_of(plan: list[PlanItem]) -> dict[int, int]:
    return {item.request: item.n_tokens for item in plan}


def counts(plan: list[PlanItem]) -> list[tuple[int, int, int, int, int]]:
    """(request, first position, tokens, rows of logits, draws) of each item."""
    return [item[:5] for item in plan]


# Admission and ends.


@pytest.mark.parametrize(
    "config",
    [{"max_batch_size": 0}, {"max_batch_tokens": 0}, {"n_ctx": 0}, {"priority_aging_ns": -1}, {"max_outputs": 8}],
)
def test_a_senseless_configuration_is_refused(config: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="status"):
        Scheduler(BlockPool(4), **config)  # type: ignore[arg-type]


@pytest.mark.parametrize(("n_ctx", "n_blocks", "longest"), [(100, 64, 99), (1024, 2, 64), (65, 2, 64)])
def test_what_can_never_fit_is_refused(n_ctx: int, n_blocks: int, longest: int) -> None:
    worker = Worker(n_blocks, n_ctx=n_ctx)
    with pytest.raises(ValueError, match="status 5"):
        worker.add(prompt(longest + 1))
    request = worker.add(prompt(longest), max_output=50)
    worker.run(10)
    assert worker.reason(request) == LENGTH
    assert len(worker.sent[request].sampled) == 1


def test_a_prompt_without_output_may_fill_the_context() -> None:
    worker = Worker(n_ctx=64)
    request = worker.add(prompt(64), kind=EVALUATE, max_output=0)
    worker.run(10)
    assert worker.reason(request) == STOP


@pytest.mark.parametrize(("n_ctx", "n_blocks", "expected"), [(1024, 64, 40), (60, 64, 20), (1024, 2, 25)])
def test_output_ends_at_max_output_at_the_context_or_with_the_pool(n_ctx: int, n_blocks: int, expected: int) -> None:
    worker = Worker(n_blocks, n_ctx=n_ctx)
    request = worker.add(prompt(40), max_output=40)
    worker.run(100)
    assert worker.reason(request) == LENGTH
    assert len(worker.sent[request].sampled) == expected


def test_no_output_asked_for_is_an_end_too() -> None:
    worker = Worker()
    request = worker.add(prompt(40), max_output=0)
    worker.run(3)
    assert worker.reason(request) == LENGTH


@pytest.mark.parametrize("reason", [STOP, ERROR])
def test_the_output_stage_ends_a_request_and_only_that_one(reason: int) -> None:
    worker = Worker()
    ended, other = worker.add(prompt(8)), worker.add(prompt(8, 100))
    for _ in range(3):
        worker.step(lambda request, n: reason if request == ended and n == 3 else NONE)
    assert worker.reason(ended) == reason
    assert len(worker.sent[ended].sampled) == 3
    worker.run(20)
    assert worker.reason(other) == LENGTH


def test_a_missing_token_is_an_error_and_not_a_hang() -> None:
    scheduler = Scheduler(BlockPool(4))
    request = scheduler.add([1, 2, 3])
    scheduler.schedule()
    scheduler.apply([(0, NONE)])
    assert scheduler.finished == [(request, ERROR, 0)]


@pytest.mark.parametrize("after_steps", [0, 1, 5])
def test_a_cancelled_request_is_gone_with_its_blocks_at_the_next_step(after_steps: int) -> None:
    worker = Worker(max_batch_tokens=32)
    request = worker.add(prompt(100))
    for _ in range(after_steps):
        worker.step()
    worker.scheduler.cancel(request)
    assert worker.schedule() == []
    assert worker.reason(request) == CANCELLED
    assert worker.pool.stats["num_referenced"] == 0
    assert worker.scheduler.started == [request]


def test_a_deadline_ends_waiting_and_running_requests_alike() -> None:
    worker = Worker(max_batch_size=1)
    requests = [worker.add(prompt(8), deadline_ns=3 * SECOND, max_output=500) for _ in range(2)]
    worker.step()
    worker.now = 3 * SECOND - 1
    worker.step()
    assert [worker.reason(request) for request in requests] == [NONE, NONE]
    worker.now = 3 * SECOND
    assert worker.schedule() == []
    assert [worker.reason(request) for request in requests] == [DEADLINE, DEADLINE]


def test_a_step_nobody_waits_for_may_be_abandoned() -> None:
    worker = Worker()
    first, second = worker.add(prompt(8)), worker.add(prompt(8), deadline_ns=5 * SECOND)
    worker.schedule()
    worker.scheduler.cancel(first)
    assert worker.scheduler.plan_is_alive(worker.now)
    assert not worker.scheduler.plan_is_alive(5 * SECOND)
    worker.now = 5 * SECOND
    assert worker.schedule() == []
    assert worker.ends(second) == 1


def test_finish_all_ends_everybody_once() -> None:
    worker = Worker(max_batch_size=1)
    requests = [worker.add(prompt(8)) for _ in range(3)]
    worker.step()
    worker.scheduler.finish_all(CLOSED, worker.now)
    worker.scheduler.finish_all(CLOSED, worker.now)
    assert sorted(worker.scheduler.finished) == [(request, CLOSED, 0) for request in requests]
    assert worker.scheduler.num_alive == 0


def test_times_are_stamped_once_and_in_order() -> None:
    worker = Worker(max_batch_tokens=32)
    request = worker.add(prompt(40), max_output=3)
    while worker.scheduler.num_alive:
        worker.schedule()
        worker.now += SECOND
        worker.apply()
    state = worker.scheduler.request(request)
    stamps = [state["start_ns"], state["prefill_end_ns"], state["first_token_ns"], state["end_ns"]]
    assert stamps == [1 * SECOND, 3 * SECOND, 3 * SECOND, 5 * SECOND]


# Sharing of a step.


def test_whoever_decodes_gets_its_token_before_any_prompt() -> None:
    worker = Worker(max_batch_tokens=40)
    first = worker.add(prompt(8))
    worker.step()
    second = worker.add(prompt(100, 500))
    assert counts(worker.step()) == [(first, 8, 1, 1, 1), (second, 0, 32, 0, 0)]


def test_the_step_time_bounds_prompts_only_while_somebody_decodes() -> None:
    worker = Worker(max_batch_tokens=512, max_step_ns=100 * MILLISECOND)
    decoding = worker.add(prompt(8), max_output=500)
    worker.step()
    worker.scheduler.observe(20 * MILLISECOND, 1, 1)
    long = worker.add(prompt(900, 100))
    assert tokens_of(worker.schedule())[long] == KV_BLOCK, "nothing measured yet"
    worker.scheduler.observe(20 * MILLISECOND + 32 * MILLISECOND // 2, 33, 1)
    assert tokens_of(worker.schedule())[long] == 160, "80 ms at 0.5 ms per token"
    worker.scheduler.observe(2_000 * MILLISECOND, 101, 1)
    assert tokens_of(worker.schedule())[long] == KV_BLOCK, "never less than a block"
    worker.scheduler.cancel(decoding)
    assert tokens_of(worker.schedule())[long] == 512


def test_one_odd_step_does_not_turn_the_pace_over() -> None:
    worker = Worker(max_batch_tokens=512, max_step_ns=80 * MILLISECOND)
    worker.add(prompt(8), max_output=500)
    worker.step()
    long = worker.add(prompt(900, 100))
    chunks = []
    for token_us in (500, 1500, 250):
        worker.scheduler.observe(100 * token_us * 1000, 100, 0)
        chunks.append(tokens_of(worker.schedule())[long])
    assert chunks == [160, 64, 96], "0.5, then 1.0, then 0.81 ms per token, cut at blocks"


def test_a_long_prompt_does_not_hold_up_a_short_one() -> None:
    worker = Worker(128, max_batch_tokens=128, n_ctx=4096)
    long = worker.add(prompt(2000))
    worker.step()
    short = worker.add(prompt(40, 5000))
    plan = tokens_of(worker.step())
    assert plan[short] == 40
    assert plan[long] >= 64


def test_behind_the_first_the_shortest_prompt_comes_next() -> None:
    worker = Worker(128, max_batch_tokens=128, n_ctx=4096)
    first = worker.add(prompt(2000))
    worker.step()
    long = worker.add(prompt(500, 3000))
    short = worker.add(prompt(40, 5000))
    assert tokens_of(worker.step()) == {first: 64, short: 40, long: 24}


def test_short_prompts_do_not_hold_up_a_long_one() -> None:
    worker = Worker(400, max_batch_tokens=128, n_ctx=4096)
    long = worker.add(prompt(1600), max_output=1)
    steps = 0
    while not worker.ends(long):
        for i in range(3):
            worker.add(prompt(60, 10_000 * (steps + 1) + 100 * i), max_output=1)
        worker.step()
        steps += 1
    assert steps <= 1600 // 64 + 1


def test_with_room_for_one_block_prompts_take_turns() -> None:
    worker = Worker(64, max_batch_tokens=32)
    worker.add(prompt(320), max_output=1)
    worker.add(prompt(96, 1000), max_output=1)
    served = [worker.step()[0].request for _ in range(6)]
    assert served == [0, 1, 0, 1, 0, 1]


def test_rows_of_evaluations_are_bounded_and_nobody_else_pays_for_it() -> None:
    worker = Worker(max_batch_tokens=128, n_prompt_outputs=32)
    requests = [worker.add(prompt(100, 1000 * i), kind=EVALUATE, max_output=0) for i in range(2)]
    other = worker.add(prompt(60), max_output=1)
    assert tokens_of(worker.step()) == {requests[0]: 32, other: 60}
    assert worker.run(20) <= 7


def test_a_running_sequence_always_fits_into_the_step() -> None:
    worker = Worker(max_batch_size=8, max_batch_tokens=3)
    for i in range(6):
        worker.add(prompt(2, 10 * i), max_output=20)
    worker.run(200)
    assert len(worker.scheduler.finished) == 6


# Order and preemption.


def test_larger_priority_first_then_arrival() -> None:
    worker = Worker(max_batch_size=1)
    requests = [worker.add(prompt(4), priority=priority, max_output=1) for priority in (0, 2, 1, 2)]
    worker.run(10)
    order = [request for request, _, _ in worker.scheduler.finished]
    assert order == [requests[1], requests[3], requests[2], requests[0]]


def test_waiting_raises_the_priority() -> None:
    worker = Worker(max_batch_size=1, priority_aging_ns=10 * SECOND)
    busy = worker.add(prompt(4), max_output=100)
    worker.step()
    patient = worker.add(prompt(4), priority=0, max_output=1)
    worker.now += 31 * SECOND
    worker.add(prompt(4), priority=3, max_output=1)
    worker.add(prompt(4), priority=4, max_output=1)
    worker.scheduler.cancel(busy)
    worker.run(10)
    assert [request for request, _, _ in worker.scheduler.finished] == [busy, 3, patient, 2]


def test_only_time_without_a_share_counts_as_waiting() -> None:
    worker = Worker(max_batch_size=1, priority_aging_ns=SECOND)
    running, waiting = worker.add(prompt(4), max_output=100), worker.add(prompt(4))
    for _ in range(20):
        worker.step()
        worker.now += SECOND
    levels = [worker.scheduler.request(request)["level"] for request in (running, waiting)]
    assert levels == [0, 19]


def test_nobody_starves_under_a_stream_of_better_requests() -> None:
    worker = Worker(max_batch_size=1, priority_aging_ns=SECOND)
    worker.add(prompt(4), priority=9, max_output=2)
    poor = worker.add(prompt(4), priority=-5, max_output=2)
    for _ in range(200):
        worker.add(prompt(4), priority=9, max_output=2)
        worker.step()
        worker.now += SECOND
        if worker.ends(poor):
            return
    raise AssertionError("never served")


@pytest.mark.parametrize("lead", [0, 1, 7, 30])
def test_a_bounded_lead_is_outrun_in_a_bounded_time(lead: int) -> None:
    """However many of those who have it come, only those of its first `lead` seconds go before."""
    worker = Worker(max_batch_size=1, priority_aging_ns=SECOND)
    for _ in range(3):
        worker.add(prompt(4), priority=lead, max_output=1)
    ordinary, begun = worker.add(prompt(4), max_output=1), worker.now
    early = []
    while not worker.ends(ordinary):
        for _ in range(2):  # twice as many as are served
            early.append((worker.now, worker.add(prompt(4), priority=lead, max_output=1)))
        worker.step()
        worker.now += SECOND
        assert len(early) < 10 * (lead + 5)
    served = {request for request, _, _ in worker.scheduler.finished}
    assert all(came <= begun + lead * SECOND for came, request in early if request in served)


def test_the_lowest_and_among_equals_the_newest_is_preempted() -> None:
    worker = Worker(4, prefix_cache=False)
    for i, priority in enumerate((0, 1, 0)):
        worker.add(prompt(30, 100 * i), priority=priority, max_output=100)
    worker.step()
    assert worker.scheduler.running == [1, 0], "the third waits: its block and one to grow are not there"
    worker = Worker(3, prefix_cache=False)
    old = worker.add(prompt(20), max_output=100)
    worker.step()
    new = worker.add(prompt(20, 100), max_output=30)
    for _ in range(30):
        worker.step()
    assert worker.scheduler.request(new)["num_preemptions"] == 1
    assert worker.scheduler.request(old)["num_preemptions"] == 0
    worker.run(200)
    assert len(worker.sent[old].sampled) == 77, "its 96 tokens fill the pool; one more is sampled from them"
    assert len(worker.sent[new].sampled) == 30


def test_a_request_that_waits_for_blocks_is_not_overtaken() -> None:
    worker = Worker(8, prefix_cache=False)
    worker.add(prompt(100), max_output=60)
    worker.step()
    large = worker.add(prompt(200, 1000), max_output=1)
    small = worker.add(prompt(10, 2000), max_output=1)
    worker.run(200)
    order = [request for request, _, _ in worker.scheduler.finished]
    assert order.index(large) < order.index(small)


def test_cached_blocks_that_a_request_would_revive_are_not_room() -> None:
    worker = Worker(8)
    worker.add(prompt(97), max_output=1)
    worker.run(10)
    running = worker.add(prompt(100, 1000), max_output=60)
    worker.step()
    assert worker.pool.stats["num_cached"] == 3
    returning = worker.add(prompt(97) + prompt(20, 5000), max_output=1)
    worker.step()
    assert (worker.scheduler.running, worker.scheduler.waiting) == ([running], [returning])


def test_a_better_request_takes_the_slot_of_one_that_has_not_begun() -> None:
    worker = Worker(64, max_batch_size=3, max_batch_tokens=32)
    for i in range(3):
        worker.add(prompt(90, 1000 * i))
    worker.step()
    better = worker.add(prompt(10, 9000), priority=1)
    worker.step()
    assert better in worker.scheduler.running
    assert worker.scheduler.waiting == [2]


# The prefix cache.


def cached(worker: Worker, request: int) -> int:
    return worker.scheduler.request(request)["num_cached_tokens"]


@pytest.mark.parametrize(
    ("n_prompt", "expected"), [(31, 0), (32, 0), (33, 32), (64, 32), (65, 64), (100, 96), (128, 96)]
)
def test_a_repeated_prompt_hits_every_complete_block_but_computes_its_last_token(n_prompt: int, expected: int) -> None:
    worker = Worker()
    for _ in range(2):
        request = worker.add(prompt(n_prompt), max_output=1)
        worker.run(10)
    assert cached(worker, request) == expected


def test_prompts_that_diverge_share_what_they_have_in_common() -> None:
    worker = Worker()
    worker.add(prompt(100) + [7] * 50, max_output=1)
    worker.run(10)
    second = worker.add(prompt(100) + [8] * 50, max_output=1)
    worker.run(10)
    assert cached(worker, second) == 96


def test_generated_tokens_are_reused_by_the_next_turn() -> None:
    worker = Worker()
    first = worker.add(prompt(40), max_output=60)
    worker.run(100)
    turn = worker.add([*worker.sent[first].tokens, 1, 2, 3], max_output=1)
    worker.run(10)
    assert cached(worker, turn) == 96, "99 of the 100 tokens were computed"


@pytest.mark.parametrize("domain", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_adapters_and_salts_do_not_share(domain: tuple[int, int, int]) -> None:
    worker = Worker(hash_mask=0)
    worker.add(prompt(100), max_output=1)
    worker.run(10)
    other = worker.add(prompt(100), max_output=1, domain=domain)
    worker.run(10)
    assert cached(worker, other) == 0


@pytest.mark.parametrize(
    "options", [{"cache_prompt": False}, {"kind": EMBED, "max_output": 0}, {"kind": EVALUATE, "max_output": 0}]
)
def test_some_requests_bypass_the_cache_in_both_directions(options: dict[str, int]) -> None:
    worker = Worker()
    worker.add(prompt(100), **options)  # type: ignore[arg-type]
    worker.run(20)
    reader = worker.add(prompt(100), max_output=1)
    worker.run(20)
    bypassing = worker.add(prompt(100), **options)  # type: ignore[arg-type]
    worker.run(20)
    assert (cached(worker, reader), cached(worker, bypassing)) == (0, 0)


def test_a_scored_prompt_is_not_looked_up_but_leaves_its_blocks_to_others() -> None:
    worker = Worker()
    worker.add(prompt(100), max_output=1)
    worker.run(20)
    scored = worker.add(prompt(100), max_output=1, scores_prompt=True)
    worker.run(20)
    assert cached(worker, scored) == 0
    fresh = Worker()
    choices = [fresh.add(prompt(100), max_output=1, scores_prompt=i == 0) for i in range(3)]
    fresh.run(20)
    assert [cached(fresh, choice) for choice in choices] == [0, 96, 96]
    assert fresh.scheduler.stats["prompt_tokens"] == 100 + 2 * 4


def test_equal_prompts_at_once_are_computed_once() -> None:
    worker = Worker(64, max_batch_tokens=256)
    for _ in range(4):
        worker.add(prompt(200), max_output=1)
    worker.run(20)
    assert worker.scheduler.stats["prompt_tokens"] == 200 + 3 * 8
    assert [cached(worker, request) for request in range(4)] == [0, 192, 192, 192]


def test_a_leader_that_is_cancelled_leaves_nobody_waiting() -> None:
    worker = Worker(64, max_batch_tokens=64)
    leader, follower = worker.add(prompt(200), max_output=1), worker.add(prompt(200), max_output=1)
    assert tokens_of(worker.step()) == {leader: 64}
    worker.scheduler.cancel(leader)
    assert counts(worker.step()) == [(follower, 64, 64, 0, 0)]


def test_a_preempted_request_finds_its_own_blocks_again() -> None:
    worker = Worker(6)
    old = worker.add(prompt(60), max_output=100)
    worker.step()
    new = worker.add(prompt(60, 100), max_output=60)
    worker.run(400)
    state = worker.scheduler.request(new)
    assert state["num_preemptions"] >= 1
    assert state["num_cached_tokens"] == 0, "recomputed tokens are not the caller's cached tokens"
    assert worker.scheduler.stats["cached_tokens"] > 0
    assert (len(worker.sent[old].sampled), len(worker.sent[new].sampled)) == (100, 60)


def test_stats_add_up() -> None:
    worker = Worker(16)
    for i in range(3):
        worker.add(prompt(50, 100 * i), max_output=5)
    worker.step()
    assert worker.scheduler.stats["running"] == 3
    worker.run(50)
    stats = worker.scheduler.stats
    assert (stats["running"], stats["waiting"], stats["finished"]) == (0, 0, 3)
    assert (stats["prompt_tokens"], stats["output_tokens"], stats["preemptions"]) == (150, 15, 0)
    assert stats["blocks_free"] + stats["blocks_cached"] == 16
    assert stats["blocks_referenced"] == 0
