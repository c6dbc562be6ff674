"""The request ring: order, bound, sleep and close, from one thread and from native threads at once."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from oxillama._core.testing.ring_harness import Request, RequestRing, num_destroyed, stress

OK, INVALID, QUEUE_FULL, CLOSED = 0, 2, 3, 4
MILLISECOND = 1_000_000


def requests(*ids: int) -> list[Request]:
    return [Request(i) for i in ids]


@pytest.mark.parametrize("queue_size", [0, -1])
def test_a_ring_needs_a_size(queue_size: int) -> None:
    with pytest.raises(ValueError, match="no ring"):
        RequestRing(queue_size)


def test_a_request_counts_until_it_left_the_queue() -> None:
    ring = RequestRing(2)
    assert ring.submit(requests(1, 2)) == OK
    assert ring.submit(requests(3)) == QUEUE_FULL
    assert ring.take() == 1
    assert ring.submit(requests(3)) == QUEUE_FULL, "taken, but not yet running"
    ring.left_queue()
    assert ring.submit(requests(3)) == OK
    assert [ring.take(), ring.take(), ring.take()] == [2, 3, None]


def test_a_group_enters_whole_or_not_at_all() -> None:
    ring = RequestRing(3)
    assert ring.submit(requests(1, 2)) == OK
    assert ring.submit(requests(3, 4)) == QUEUE_FULL
    assert ring.num_queued == 2
    assert ring.submit([]) == INVALID


def test_a_closed_ring_refuses_but_gives_out_what_it_has() -> None:
    ring = RequestRing(4)
    ring.submit(requests(1))
    ring.close()
    ring.close()
    assert ring.submit(requests(2)) == CLOSED
    assert ring.is_quiet
    assert [ring.take(), ring.take()] == [1, None]


def test_a_dropped_ring_gives_up_its_references() -> None:
    before, _ = num_destroyed()
    ring = RequestRing(4)
    ring.submit(requests(1, 2))
    del ring
    assert num_destroyed()[0] == before + 2


def test_sleep_ends_with_its_time_out_and_not_before() -> None:
    assert RequestRing(4).sleep(30 * MILLISECOND) >= 30 * MILLISECOND


def test_sleep_does_not_begin_when_there_is_news() -> None:
    ring = RequestRing(4)
    ring.submit(requests(1))
    assert ring.sleep(5_000 * MILLISECOND) < 1_000 * MILLISECOND
    ring.take()
    ring.wake()
    assert ring.sleep(5_000 * MILLISECOND) < 1_000 * MILLISECOND
    assert ring.sleep(20 * MILLISECOND) >= 20 * MILLISECOND, "one wake ends one sleep"


@pytest.mark.parametrize("event", ["submit", "wake", "close"])
def test_a_sleeper_is_woken(event: str) -> None:
    ring = RequestRing(4)
    slept: list[int] = []
    sleeper = threading.Thread(target=lambda: slept.append(ring.sleep(20_000 * MILLISECOND)))
    sleeper.start()
    time.sleep(0.05)
    if event == "submit":
        ring.submit(requests(1))
    elif event == "wake":
        ring.wake()
    else:
        ring.close()
    sleeper.join(10)
    assert slept
    assert slept[0] < 10_000 * MILLISECOND


@pytest.mark.parametrize(
    ("queue_size", "n_producers", "group"), [(256, 2, 1), (1, 3, 1), (2, 2, 2), (8, 4, 3), (16, 1, 8)]
)
def test_native_threads_lose_nothing_and_keep_their_order(queue_size: int, n_producers: int, group: int) -> None:
    before, _ = num_destroyed()
    ring = RequestRing(queue_size)
    n_each = 3_000 if queue_size == 1 else 20_000
    report = stress(ring, n_producers, n_each, group=group)
    assert report["taken"] == report["accepted"] == n_each * n_producers
    assert report["out_of_order"] == 0
    assert report["slow_sleeps"] == 0, "a wake-up was lost"
    assert report["most_queued"] <= queue_size
    assert ring.num_queued == 0
    assert num_destroyed()[0] == before + report["taken"]


def test_what_was_accepted_before_close_is_always_taken() -> None:
    for round_ in range(20):
        ring = RequestRing(16)
        report = stress(ring, 3, 0, group=1 + round_ % 4, close_after=200)
        assert report["taken"] == report["accepted"] >= 200
        assert ring.num_queued == 0


class Ring(RuleBasedStateMachine):
    """One thread against a list."""

    ring: RequestRing

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[int] = []
        self.outside = 0  # taken, but still queued
        self.number = 0
        self.closed = False

    @initialize(queue_size=st.integers(1, 9))
    def create(self, queue_size: int) -> None:
        self.queue_size = queue_size
        self.ring = RequestRing(queue_size)

    @rule(n=st.integers(1, 4))
    def submit(self, n: int) -> None:
        ids = list(range(self.number, self.number + n))
        expected = QUEUE_FULL if len(self.inside) + self.outside + n > self.queue_size else OK
        assert self.ring.submit(requests(*ids)) == (CLOSED if self.closed else expected)
        if expected == OK and not self.closed:
            self.inside += ids
            self.number += n

    @rule()
    def take(self) -> None:
        request = self.ring.take()
        assert request == (self.inside.pop(0) if self.inside else None)
        self.outside += request is not None

    @rule()
    def run(self) -> None:
        if self.outside:
            self.ring.left_queue()
            self.outside -= 1

    @rule(unlikely=st.integers(0, 9))
    def close(self, unlikely: int) -> None:
        if unlikely == 0:
            self.ring.close()
            self.closed = True

    @invariant()
    def counts(self) -> None:
        assert self.ring.num_queued == len(self.inside) + self.outside
        assert self.ring.closed == self.closed


Ring.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRing = Ring.TestCase
