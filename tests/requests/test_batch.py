"""Many prompts in one call: their order, their progress, and a queue that is never full for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import pytest

from oxillama import (
    Completion,
    ContextLengthError,
    DeadlineExceeded,
    Engine,
    InvalidRequestError,
    RequestCancelled,
    SamplingParams,
)
from oxillama.requests.admission import Prompt
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


BAD = [5, -1]


def test_what_goes_wrong_says_which_it_was(demo: Engine) -> None:
    with pytest.raises(InvalidRequestError, match="token -1") as caught:
        demo.generate_batch(["a", "b", BAD, "c"], max_tokens=1)
    assert (caught.value.index, caught.value.param) == (2, "prompts[2]")
    assert caught.value.__notes__ == ["prompts[2]"]
    conversations: list[Any] = [[{"role": "user", "content": "a"}], [{"role": "user", "content": 5}]]
    with pytest.raises(InvalidRequestError) as caught:
        demo.chat_batch(conversations, max_tokens=1)
    assert (caught.value.index, caught.value.param) == (1, "conversations[1][0].content")


@pytest.mark.parametrize("is_async", [False, True])
def test_exceptions_may_stand_for_results(is_async: bool, demo: Engine) -> None:
    prompts: list[Prompt] = ["a", BAD, "b" * 9000, "c"]
    found: list[Completion | Exception]
    if is_async:

        async def asked() -> list[Completion | Exception]:
            return await demo.agenerate_batch(prompts, return_exceptions=True, max_tokens=2, temperature=0)

        found = anyio.run(asked)
    else:
        found = demo.generate_batch(prompts, return_exceptions=True, max_tokens=2, temperature=0)
    assert [type(one) for one in found] == [Completion, InvalidRequestError, ContextLengthError, Completion]
    for prompt, one in zip(prompts, found, strict=True):
        if isinstance(one, Completion):
            assert one.token_ids == demo.generate(prompt, max_tokens=2, temperature=0).token_ids
    # A deadline ends one request, after it was submitted.
    ended = demo.generate_batch(["a"] * 2, return_exceptions=True, max_tokens=100, deadline=0, ignore_eos=True)
    assert [type(one) for one in ended] == [DeadlineExceeded] * 2
    # Wrong options are nobody's in particular.
    with pytest.raises(InvalidRequestError):
        demo.generate_batch(["a"], return_exceptions=True, top_p=2)
    with pytest.raises(TypeError, match="max_token'"):
        demo.generate_batch([], return_exceptions=True, max_token=2)  # type: ignore[call-overload]


@pytest.mark.parametrize("is_async", [False, True])
def test_many_chats_are_what_each_is_alone(is_async: bool, demo: Engine) -> None:
    conversations = [[{"role": "user", "content": f"Tell me of {i} bears"}] for i in range(9)]
    expected = [demo.chat(one, max_tokens=8, temperature=0).text for one in conversations]
    if is_async:
        found = anyio.run(partial(demo.achat_batch, conversations, max_tokens=8, temperature=0))
    else:
        found = demo.chat_batch(conversations, max_tokens=8, temperature=0)
    assert [one.text for one in found] == expected


@pytest.mark.parametrize("backend", ["sync", "asyncio", "trio"])
def test_results_come_as_they_are_done(backend: str, open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=4, queue_size=3)
    lengths = [60, 2, 30, 1, 5, 3]
    prompts: list[list[int]] = [[5] * 4 if length else BAD for length in lengths] + [BAD]

    async def gathered() -> list[tuple[int, object]]:
        return [pair async for pair in engine.stream_batch(prompts, max_tokens=9, ignore_eos=True)]

    if backend == "sync":
        pairs: list[tuple[int, object]] = list(engine.stream_batch(prompts, max_tokens=9, ignore_eos=True))
    else:
        pairs = anyio.run(gathered, backend=backend)
    assert sorted(index for index, _ in pairs) == list(range(7))
    kinds = dict(pairs)
    assert isinstance(kinds[6], InvalidRequestError)
    assert all(isinstance(kinds[index], Completion) for index in range(6))


def test_a_short_one_does_not_wait_for_a_long_one(long_engine: Engine) -> None:
    stream = long_engine.stream_batch([[5], [-1]], ignore_eos=True)
    index, error = next(stream)
    assert (index, type(error)) == (1, InvalidRequestError)
    stream.close()
    assert list(stream) == []
    eventually(lambda: is_idle(long_engine))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_loop_cancels_what_is_in_flight(backend: str, long_engine: Engine) -> None:
    async def cut_short() -> None:
        with anyio.move_on_after(0.2):
            async for _ in long_engine.stream_batch([[5], [6]], ignore_eos=True):
                raise AssertionError("they never end")

    anyio.run(cut_short, backend=backend)
    eventually(lambda: is_idle(long_engine))
