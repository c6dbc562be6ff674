"""Fairness as a number: how evenly sequences advance, and how long anybody waits for a turn."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.core.simulated_worker import Worker


def index(shares: list[float]) -> float:
    """Jain's: 1 where all have as much, 1 / n where one has all (Jain, Chiu and Hawe 1984)."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


@pytest.mark.parametrize(("n_sequences", "batch"), [(8, 8), (20, 8), (5, 2)])
def test_sequences_that_write_advance_alike(n_sequences: int, batch: int) -> None:
    worker = Worker(2000, max_batch_size=batch, max_batch_tokens=64, n_ctx=1024)
    requests = [worker.add([i] * 40, max_output=60) for i in range(n_sequences)]
    written: Counter[int] = Counter()
    gaps: Counter[int] = Counter()
    last: dict[int, int] = {}
    for step in range(10_000):
        if all(worker.ends(request) for request in requests):
            break
        for item in worker.step():
            if item.n_draws:
                written[item.request] += 1
                gaps[item.request] = max(gaps[item.request], step - last.get(item.request, step))
                last[item.request] = step
    # Everybody writes all of theirs, and whoever has begun writes in every step.
    assert index([float(written[request]) for request in requests]) == 1
    assert max(gaps.values()) == 1


def test_prompts_share_a_step_and_the_longest_is_not_starved() -> None:
    worker = Worker(4000, max_batch_size=16, max_batch_tokens=128, n_ctx=4096)
    sizes = [3000, *[50 + 10 * i for i in range(12)]]
    requests = [worker.add(list(range(1000 * i, 1000 * i + n)), max_output=1) for i, n in enumerate(sizes)]
    computed: Counter[int] = Counter()
    ended: dict[int, int] = {}
    for step in range(1, 200):
        for item in worker.step():
            computed[item.request] += item.n_tokens
        ended.update({request: step for request in requests if request not in ended and worker.ends(request)})
        if step <= 10 and requests[0] not in ended:
            # Half of every step is the first one's, whoever else is there.
            assert computed[requests[0]] >= 64 * step
        if len(ended) == len(requests):
            break
    others = sorted(requests[1:], key=lambda request: ended[request])
    assert others == requests[1:], "the shorter, the sooner"
    # Alone each would have had to wait for 3,000 / 128 steps of the first: now for the shorter ones only.
    n_before = 0
    for request, n in zip(others, sizes[1:], strict=True):
        n_before += n
        assert ended[request] <= -(-n_before // 64) + 1
    assert ended[requests[0]] <= -(-sum(sizes) // 128) + 2


def test_everybody_who_waits_is_served_in_turn() -> None:
    """With one place, requests of equal level run in the order in which they came, whatever their size."""
    worker = Worker(200, max_batch_size=1, max_batch_tokens=64)
    requests = [worker.add([i] * n, max_output=2) for i, n in enumerate([300, 1, 120, 5, 64])]
    order: list[int] = []
    for _ in range(100):
        for item in worker.step():
            if item.request not in order:
                order.append(item.request)
    assert order == requests
