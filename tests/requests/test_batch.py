"""Many prompts in one call: their order, their progress, and a queue that is never full for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from oxillama import Engine, RequestCancelled, SamplingParams
from tests.patience import eventually, is_idle

PROMPTS = [f"Once upon a time there was number {i}" for i in range(12)]


def test_completions_come_in_the_order_of_the_prompts(demo: Engine) -> None:
    params = SamplingParams(max_tokens=8, seed=2)
    expected = [demo.generate(prompt, params).token_ids for prompt in PROMPTS]
    assert [completion.token_ids for completion in demo.generate_batch(PROMPTS, params)] == expected
    assert [completion.token_ids for completion in demo.generate_batch(iter(PROMPTS), params)] == expected


def test_more_prompts_than_the_queue_holds(open_long: Callable[..., Engine]) -> None:
    engine = open_long(queue_size=3, max_batch_size=2)
    batch = engine.generate_batch(["x"] * 40, max_tokens=3, n=2, ignore_eos=True)
    assert [completion.usage.completion_tokens for completion in batch] == [6] * 40


def test_progress_is_told_per_prompt(demo: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int]] = []
    demo.generate_batch(PROMPTS, max_tokens=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 12) for i in range(12)]
    demo.generate_batch(PROMPTS, max_tokens=2)
    assert capsys.readouterr().err == ""
    demo.generate_batch(PROMPTS, max_tokens=2, progress=True)
    assert "generating" in capsys.readouterr().err


def test_a_salt_holds_for_the_whole_batch(open_long: Callable[..., Engine]) -> None:
    engine = open_long()
    prompt = "x" * 100

    def cached(salt: str) -> int:
        return engine.generate_batch([prompt], max_tokens=1, cache_salt=salt)[0].usage.cached_tokens

    assert [cached("a"), cached("b"), cached("a")] == [0, 0, 96]


def test_what_is_in_flight_is_cancelled_when_one_is_refused(long_engine: Engine) -> None:
    def prompts() -> Iterator[list[int]]:
        yield from [[5], [6], [-1]]

    with pytest.raises(ValueError, match="token -1"):
        long_engine.generate_batch(prompts(), ignore_eos=True)
    eventually(lambda: is_idle(long_engine))
    assert long_engine.stats().finished == 2


def test_what_is_in_flight_is_cancelled_when_progress_fails(long_engine: Engine) -> None:
    def fail(done: int, total: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        long_engine.generate_batch(["x", "y", "z"], max_tokens=500, ignore_eos=True, progress=fail)
    eventually(lambda: is_idle(long_engine))


def test_an_end_of_one_is_the_end_of_all(long_engine: Engine) -> None:
    handle = long_engine.submit("x", ignore_eos=True)
    handle.cancel()
    with pytest.raises(RequestCancelled):
        handle.result()
    with pytest.raises(TimeoutError):
        long_engine.generate_batch(["x", "y"], ignore_eos=True, deadline=0.1)
    eventually(lambda: is_idle(long_engine))
