"""A step in counts: rows that become logits, that are drawn from, that leave as hidden states; and drafts."""

from __future__ import annotations

import pytest

from tests.core.simulated_worker import EMBED, EVALUATE, LENGTH, NONE, STOP, Draft, Worker
from tests.core.test_scheduler import cached, counts, prompt, tokens_of


def right(request: int, expected: list[int]) -> list[int]:
    return expected


def wrong(request: int, expected: list[int]) -> list[int]:
    return [token + 1 for token in expected]


def right_until(n: int) -> Draft:
    return lambda request, expected: expected[:n] + [token + 1 for token in expected[n:]]


def test_right_drafts_are_tokens_of_one_step() -> None:
    worker = Worker(max_drafts=4)
    request = worker.add(prompt(8), max_output=11)
    assert counts(worker.step(draft=right)) == [(request, 0, 8, 1, 1)], "nobody drafts before it runs"
    assert counts(worker.step(draft=right)) == [(request, 8, 5, 5, 5)]
    assert counts(worker.step(draft=right)) == [(request, 13, 5, 5, 5)]
    assert worker.reason(request) == LENGTH
    assert len(worker.sent[request].sampled) == 11
    stats = worker.scheduler.stats
    assert (stats["output_tokens"], stats["prompt_tokens"], stats["steps"]) == (11, 8, 3)
    assert (stats["accepted_drafts"], stats["rejected_drafts"]) == (8, 0)


@pytest.mark.parametrize("n_right", range(5))
def test_what_stands_behind_a_wrong_draft_is_computed_again(n_right: int) -> None:
    worker = Worker(max_drafts=4)
    request = worker.add(prompt(8), max_output=40)
    worker.step()
    worker.step(draft=right_until(n_right))
    state = worker.scheduler.request(request)
    assert state["num_computed_tokens"] == 9 + n_right
    assert len(state["output"]) == 2 + n_right
    assert counts(worker.step()) == [(request, 9 + n_right, 1, 1, 1)]
    stats = worker.scheduler.stats
    assert (stats["accepted_drafts"], stats["rejected_drafts"]) == (n_right, 4 - n_right)


@pytest.mark.parametrize(("max_output", "n_ctx"), [(4, 1024), (100, 14)])
def test_drafts_end_where_the_output_does(max_output: int, n_ctx: int) -> None:
    worker = Worker(n_ctx=n_ctx)
    request = worker.add(prompt(10), max_output=max_output)
    worker.step()
    assert counts(worker.step(draft=right)) == [(request, 10, 3, 3, 3)]
    assert worker.reason(request) == LENGTH
    assert len(worker.sent[request].sampled) == 4


def test_an_end_among_right_drafts_is_the_end() -> None:
    worker = Worker()
    request = worker.add(prompt(8), max_output=100)
    worker.step()
    worker.step(lambda request, n: STOP if n == 4 else NONE, right)
    assert worker.reason(request) == STOP
    assert len(worker.sent[request].sampled) == 4


def test_drafts_take_what_is_left_of_the_step() -> None:
    worker = Worker(max_batch_size=3, max_batch_tokens=12, n_prompt_outputs=6)
    requests = [worker.add(prompt(3, 100 * i), max_output=50) for i in range(2)]
    worker.step()
    assert [item.n_draws for item in worker.step(draft=right)] == [7, 1], "six rows of logits are to spare"
    worker = Worker(max_batch_size=3, max_batch_tokens=12)
    requests = [worker.add(prompt(3, 100 * i), max_output=50) for i in range(2)]
    worker.step()
    assert [item.n_draws for item in worker.step(draft=right)] == [11, 1], "twelve tokens are a step"
    worker.scheduler.cancel(requests[0])
    later = worker.add(prompt(9, 900), max_output=50)
    plan = worker.step(draft=right)
    assert tokens_of(plan) == {requests[1]: 3, later: 9}, "prompts go before guesses"


def test_a_network_that_cannot_go_back_gets_no_drafts() -> None:
    worker = Worker(max_drafts=0)
    worker.add(prompt(8), max_output=20)
    worker.step()
    assert [item.n_draws for item in worker.step(draft=right)] == [1]


def test_drafts_preempt_nobody_and_leave_a_block_to_each() -> None:
    worker = Worker(4, prefix_cache=False)
    for i in range(2):
        worker.add(prompt(30, 100 * i), max_output=35)
    while worker.scheduler.num_alive:
        worker.step(draft=right)
    assert worker.scheduler.stats["preemptions"] == 0
    worker = Worker(2, prefix_cache=False)
    request = worker.add(prompt(30), max_output=60)
    worker.step()
    worker.step(draft=right)
    assert worker.scheduler.request(request)["num_computed_tokens"] == 32, "one block is left, and it is kept"


def test_only_what_stands_is_found_by_others() -> None:
    worker = Worker()
    request = worker.add(prompt(30), max_output=40)
    worker.step()
    worker.step(draft=wrong)
    assert not any(state["indexed"] for state in worker.pool.blocks), "a block of wrong tokens was computed"
    while worker.scheduler.num_alive:
        worker.step(draft=right_until(3))
    returning = worker.add([*worker.sent[request].tokens, 1], max_output=1)
    worker.run(10)
    assert cached(worker, returning) == 64


def test_an_abandoned_step_leaves_no_drafts() -> None:
    worker = Worker()
    request = worker.add(prompt(8), max_output=40)
    worker.step()
    worker.draft(right)
    assert worker.schedule()[0].n_draws == 17
    worker.rollback()
    state = worker.scheduler.request(request)
    assert (state["n_drafts"], state["num_computed_tokens"], len(state["output"])) == (0, 8, 1)
    assert counts(worker.step()) == [(request, 8, 1, 1, 1)]


def test_rows_of_logits_are_counted_where_they_are_wanted() -> None:
    worker = Worker(max_batch_tokens=96)
    worker.add(prompt(40), kind=EVALUATE, max_output=0)
    worker.step()
    evaluated = worker.add(prompt(40), kind=EVALUATE, max_output=0)
    scored = worker.add(prompt(20, 100), scores_prompt=True)
    plain = worker.add(prompt(30, 200))
    assert {item[:5] for item in worker.step()} == {
        (evaluated, 0, 40, 40, 0),
        (scored, 0, 20, 20, 1),
        (plain, 0, 30, 1, 1),
    }
    assert {item[:5] for item in worker.step(draft=right_until(2))} == {
        (scored, 20, 15, 15, 15),
        (plain, 30, 15, 15, 15),
    }


@pytest.mark.parametrize(("hidden", "expected"), [((0, 70), [32, 32, 6]), ((0, 1), [1, 0, 0]), ((69, 70), [0, 0, 1])])
def test_hidden_states_are_counted_where_they_are_wanted(hidden: tuple[int, int], expected: list[int]) -> None:
    worker = Worker(max_batch_tokens=32)
    worker.add(prompt(70), kind=EMBED, max_output=0, hidden=hidden)
    assert [worker.step()[0].n_hidden for _ in range(3)] == expected
