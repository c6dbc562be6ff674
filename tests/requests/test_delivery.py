"""What the core has delivered: taken once, in turn, and how it ended."""

from __future__ import annotations

import pytest

from oxillama import Engine, RequestCancelled, SamplingParams
from oxillama.requests.completion_builder import CompletionBuilder
from oxillama.requests.delivery import Delivery
from oxillama.results.completion import Completion
from tests.patience import eventually


def begin(engine: Engine, **options: object) -> Delivery:
    params = SamplingParams(max_tokens=12, seed=4, **options)  # type: ignore[arg-type]
    return engine._admission.generation("Once upon a time", params, None)


def run(engine: Engine, delivery: Delivery) -> None:
    assert engine._lifecycle.try_submit(delivery.handles)
    eventually(lambda: all(handle.finish_reason for handle in delivery.handles))


def nothing() -> Completion:
    raise AssertionError("nobody asked for what there was")


def test_turns_go_round(demo: Engine) -> None:
    delivery = begin(demo, n=3)
    assert [[choice.index for choice in delivery.in_turn()] for _ in range(4)] == [
        [0, 1, 2],
        [1, 2, 0],
        [2, 0, 1],
        [0, 1, 2],
    ]


def test_arrivals_are_told_once(demo: Engine) -> None:
    delivery = begin(demo, n=2, ignore_eos=True)
    run(demo, delivery)
    assert delivery.arrivals() == [(0, 12), (1, 12)]
    assert delivery.arrivals() == []
    assert delivery.collect()
    assert delivery.open_handles == []


def test_a_natural_end_is_no_failure(demo: Engine) -> None:
    delivery = begin(demo)
    assert delivery.failure(nothing) is None, "it has not even begun"
    run(demo, delivery)
    assert delivery.failure(nothing) is None


def test_an_end_before_its_time_brings_what_there_was(demo: Engine) -> None:
    delivery = begin(demo)
    delivery.handles[0].cancel()
    run(demo, delivery)
    there_was = CompletionBuilder(delivery).result()
    failure = delivery.failure(lambda: there_was)
    assert isinstance(failure, RequestCancelled)
    assert failure.partial is there_was


@pytest.mark.parametrize("name", ["usage", "timings"])
def test_counts_begin_at_nothing(demo: Engine, name: str) -> None:
    found = getattr(begin(demo), name).to_dict()
    assert not any(value for key, value in found.items() if isinstance(value, float))
    assert found.get("completion_tokens", 0) == 0
