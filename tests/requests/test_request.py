"""Requests as handles and streams: waiting, cancelling, deadlines, the queue, and what repr() does not say."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from oxillama import (
    Completion,
    DeadlineExceeded,
    Engine,
    EngineClosedError,
    InvalidRequestError,
    QueueFullError,
    RequestCancelled,
    RequestHandle,
)
from oxillama.results.completion import CompletionChunk
from tests.patience import eventually, growing_limits, is_idle

PROMPT = "Once upon a time"


@pytest.fixture
def endless(long_engine: Engine) -> RequestHandle:
    """A request that would go on for many seconds, and runs."""
    handle = long_engine.submit("x", ignore_eos=True, seed=1)
    eventually(lambda: handle.usage.completion_tokens > 0)
    return handle


def test_waiting_for_no_number_of_seconds_is_refused_and_changes_nothing(
    endless: RequestHandle, long_engine: Engine
) -> None:
    with pytest.raises(InvalidRequestError, match="timeout must be a number of seconds, or None, found nan"):
        endless.result(timeout=float("nan"))
    with pytest.raises(InvalidRequestError, match="timeout must be a number of seconds, or None, found nan"):
        long_engine.drain(timeout=float("nan"))
    assert not endless.done
    assert long_engine.state == "ready"


# Handles


def test_a_handle_tells_how_far_it_is(demo: Engine) -> None:
    handle = demo.submit(PROMPT, max_tokens=20, seed=3)
    completion = handle.result()
    assert handle.done
    assert handle.seed == completion.seed == 3
    assert handle.id == completion.id
    assert handle.usage == completion.usage
    # The result stays, and may be asked for again.
    assert handle.result() == completion


def test_a_request_can_be_prepared_and_entered_later(demo: Engine) -> None:
    before = demo.stats().finished
    handle = demo.prepare(PROMPT, max_tokens=5, seed=3, n=2)
    assert handle.model == "demo"
    assert handle.created <= time.time()
    reasons = [handle.finish_reasons]
    assert demo.stats().finished == before
    handle.enter()
    assert handle.result().text == demo.generate(PROMPT, max_tokens=5, seed=3).text
    assert [*reasons, handle.finish_reasons] == [(None, None), ("length", "length")]
    with pytest.raises(InvalidRequestError):
        demo.prepare([])


def test_a_handle_can_be_iterated(demo: Engine) -> None:
    handle = demo.submit(PROMPT, max_tokens=20, seed=3)
    texts = [chunk.text for chunk in handle]
    assert "".join(texts) == handle.result().text
    assert list(handle) == []


def test_take_gives_what_there_is_without_waiting(endless: RequestHandle) -> None:
    first = endless.take()
    assert first
    eventually(lambda: bool(endless.take()))
    assert not endless.done
    endless.cancel()
    eventually(lambda: endless.done)
    endless.take()
    assert endless.exhausted
    assert endless.take() == []


def test_result_may_be_waited_for_with_a_time_limit(endless: RequestHandle) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError, match=r"0\.2 seconds") as caught:
        endless.result(timeout=0.2)
    assert type(caught.value) is TimeoutError
    assert time.monotonic() - started >= 0.2
    before = endless.usage.completion_tokens
    eventually(lambda: endless.usage.completion_tokens > before)
    with pytest.raises(TimeoutError):
        endless.result(timeout=0)
    assert not endless.done


def test_threads_may_share_a_handle(demo: Engine) -> None:
    expected = demo.generate(PROMPT, max_tokens=200, seed=3, ignore_eos=True)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            handle = demo.submit(PROMPT, max_tokens=200, seed=3, ignore_eos=True)
            found = list(pool.map(lambda _, handle=handle: handle.result(), range(8)))
            assert {completion.token_ids for completion in found} == {expected.token_ids}
            assert {completion.text for completion in found} == {expected.text}


# Cancelling


def test_cancelling_ends_it_with_what_there_is(long_engine: Engine, endless: RequestHandle) -> None:
    endless.cancel()
    endless.cancel()
    with pytest.raises(RequestCancelled) as caught:
        endless.result(timeout=20)
    partial = caught.value.partial
    assert isinstance(partial, Completion)
    assert partial.finish_reason is None
    assert len(partial.token_ids) == partial.usage.completion_tokens > 0
    whole = long_engine.generate("x", ignore_eos=True, seed=1, max_tokens=len(partial.token_ids))
    assert whole.token_ids == partial.token_ids
    assert whole.text == partial.text
    eventually(lambda: is_idle(long_engine))


def test_cancelling_what_is_done_changes_nothing(demo: Engine) -> None:
    handle = demo.submit(PROMPT, max_tokens=3)
    completion = handle.result()
    handle.cancel()
    assert handle.result() == completion


def test_a_waiting_request_can_be_cancelled(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1)
    running = engine.submit("x", ignore_eos=True)
    waiting = engine.submit("y", ignore_eos=True)
    eventually(lambda: running.usage.completion_tokens > 0)
    assert engine.stats().queue_depth == 1
    waiting.cancel()
    with pytest.raises(RequestCancelled) as caught:
        waiting.result(timeout=20)
    assert caught.value.partial is not None
    assert caught.value.partial.token_ids == ()
    assert engine.stats().queue_depth == 0
    assert not running.done


def test_a_long_prompt_can_be_cancelled_while_it_is_read(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_tokens=64)
    handle = engine.submit("x" * 100_000, max_tokens=1)
    eventually(lambda: engine.stats().prompt_tokens > 0)
    handle.cancel()
    with pytest.raises(RequestCancelled):
        handle.result(timeout=20)
    eventually(lambda: is_idle(engine))
    assert engine.stats().prompt_tokens < 100_000


def test_dropping_the_last_reference_cancels(long_engine: Engine) -> None:
    handles = [long_engine.submit("x", ignore_eos=True)]
    eventually(lambda: handles[0].usage.completion_tokens > 0)
    handles.clear()
    gc.collect()
    eventually(lambda: is_idle(long_engine))
    assert long_engine.stats().finished == 1


def test_a_handle_keeps_its_engine(open_long: Callable[..., Engine], long_model: Any) -> None:
    engine = Engine(long_model, n_threads=1, progress=False)
    known = weakref.ref(engine)
    handle = engine.submit("x", max_tokens=500, ignore_eos=True)
    del engine
    gc.collect()
    # The object too: a host may look its engines up by weak references.
    assert known() is not None
    assert handle.result(timeout=60).usage.completion_tokens == 500
    del handle
    gc.collect()
    assert known() is None


# Streams as objects


def test_a_stream_is_an_iterator_and_a_context_manager(demo: Engine) -> None:
    with demo.stream(PROMPT, max_tokens=5) as stream:
        assert iter(stream) is stream
        first = next(stream)
        assert first.token_ids
        assert stream.usage.prompt_tokens == 5
        rest = list(stream)
    assert len(rest) == 4
    with pytest.raises(StopIteration):
        next(stream)


@pytest.mark.parametrize("way", ["break", "close", "with", "del", "exception"])
def test_leaving_a_stream_cancels_the_request(long_engine: Engine, way: str) -> None:
    if way == "break":
        for _ in long_engine.stream("x", ignore_eos=True):
            break
    elif way == "exception":
        with contextlib.suppress(ZeroDivisionError):
            for chunk in long_engine.stream("x", ignore_eos=True):
                assert chunk.index / 0
    else:
        stream = long_engine.stream("x", ignore_eos=True)
        next(stream)
        if way == "close":
            stream.close()
            stream.close()
            assert list(stream) == []
        elif way == "with":
            with stream:
                next(stream)
        else:
            del stream
    gc.collect()
    eventually(lambda: is_idle(long_engine))
    assert long_engine.stats().finished == 1


def test_a_cancelled_stream_delivers_first_and_raises_then(long_engine: Engine) -> None:
    stream = long_engine.stream("x", ignore_eos=True)
    seen = [next(stream) for _ in range(5)]
    stream.handle.cancel()
    with pytest.raises(RequestCancelled) as caught:
        seen.extend(stream)
    assert caught.value.partial is not None
    assert "".join(chunk.text for chunk in seen) == caught.value.partial.text
    assert list(stream) == []


def test_closing_the_engine_ends_open_streams(long_engine: Engine) -> None:
    stream = long_engine.stream("x", ignore_eos=True)
    next(stream)
    long_engine.close()
    with pytest.raises(EngineClosedError):
        list(stream)
    stream.close()


def test_best_of_cannot_be_streamed(demo: Engine) -> None:
    for call in (demo.stream, demo.astream):
        with pytest.raises(InvalidRequestError, match="best_of") as caught:
            call(PROMPT, max_tokens=5, n=1, best_of=2)
        assert caught.value.param == "best_of"
    assert len(list(demo.stream(PROMPT, max_tokens=1, n=2, best_of=2))) == 2


# Deadlines


def test_a_deadline_ends_it_with_what_there_is(long_engine: Engine) -> None:
    for deadline in growing_limits():
        with pytest.raises(DeadlineExceeded) as caught:
            long_engine.generate("x", ignore_eos=True, deadline=deadline)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.partial is not None
        if caught.value.partial.usage.completion_tokens > 0:
            break
    else:
        pytest.fail("nothing was written in time")
    eventually(lambda: is_idle(long_engine))


def test_a_stream_delivers_before_its_deadline_is_raised(long_engine: Engine) -> None:
    for deadline in growing_limits():
        seen: list[CompletionChunk] = []
        with pytest.raises(DeadlineExceeded) as caught:
            seen.extend(long_engine.stream("x", ignore_eos=True, deadline=deadline))
        assert caught.value.partial is not None
        assert "".join(chunk.text for chunk in seen) == caught.value.partial.text
        if seen:
            break
    assert "".join(chunk.text for chunk in seen) != ""


def test_a_deadline_holds_while_waiting_for_a_place_in_the_batch(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1)
    running = engine.submit("x", ignore_eos=True)
    with pytest.raises(DeadlineExceeded) as caught:
        engine.generate("y", deadline=0.1)
    assert caught.value.partial is not None
    assert caught.value.partial.token_ids == ()
    assert not running.done


def test_a_deadline_holds_while_waiting_for_the_queue(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    with pytest.raises(DeadlineExceeded):
        engine.generate("y", deadline=0.1, queue_timeout=None)
    with pytest.raises(DeadlineExceeded):
        engine.generate_batch(["y"], deadline=0.1)
    assert len(keep) == 2


@pytest.mark.parametrize("deadline", [60, 1e12, 1e300])
def test_a_far_deadline_is_no_deadline(demo: Engine, deadline: float) -> None:
    assert demo.generate(PROMPT, max_tokens=2, deadline=deadline).usage.completion_tokens == 2


def test_a_deadline_of_zero_has_passed(demo: Engine) -> None:
    with pytest.raises(DeadlineExceeded):
        demo.generate(PROMPT, deadline=0)


# The queue


def fill(engine: Engine) -> list[RequestHandle]:
    """One running, one queued, of an engine with a batch and a queue of one."""
    running = engine.submit("x", ignore_eos=True)
    eventually(lambda: running.usage.completion_tokens > 0)
    return [running, engine.submit("x", ignore_eos=True)]


def test_a_full_queue_refuses_at_once(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    started = time.monotonic()
    for call in (engine.generate, engine.stream, engine.submit, engine.astream):
        with pytest.raises(QueueFullError) as caught:
            call("y")
        assert 0 < caught.value.retry_after <= 120
    assert time.monotonic() - started < 5
    assert engine.stats().queue_depth == 1
    del keep


def test_a_full_queue_is_waited_for_as_long_as_one_likes(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    started = time.monotonic()
    with pytest.raises(QueueFullError):
        engine.generate("y", queue_timeout=0.2)
    assert 0.2 <= time.monotonic() - started < 10
    threading.Timer(0.1, keep.clear).start()
    assert engine.generate("y", max_tokens=3, ignore_eos=True, queue_timeout=None).usage.completion_tokens == 3


def test_several_choices_enter_together_or_not_at_all(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1, queue_size=3)
    running = engine.submit("x", ignore_eos=True)
    eventually(lambda: running.usage.completion_tokens > 0)
    queued = engine.submit("x", ignore_eos=True)
    with pytest.raises(QueueFullError):
        engine.submit("y", n=3)
    assert engine.stats().queue_depth == 1
    pair = engine.submit("y", n=2)
    assert engine.stats().queue_depth == 3
    assert not queued.done
    assert not pair.done


def test_closing_wakes_those_who_wait_for_the_queue(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    threading.Timer(0.1, engine.close).start()
    with pytest.raises(EngineClosedError):
        engine.generate("y", queue_timeout=None)
    del keep


# Priorities


def test_a_larger_priority_comes_first(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1)
    first = engine.submit("x", ignore_eos=True)
    eventually(lambda: first.usage.completion_tokens > 0)
    low = engine.submit("a", max_tokens=2, ignore_eos=True, priority=-1)
    high = engine.submit("b", max_tokens=2, ignore_eos=True, priority=5)
    first.cancel()
    assert high.result(timeout=20).timings.queue < low.result(timeout=20).timings.queue


# What is shown


SECRET = "a very secret sentence"


def test_repr_shows_counts_and_no_text(demo: Engine, caplog: pytest.LogCaptureFixture) -> None:
    # What the model itself would write differs with the processor, and a word such as "and" is in a name of ours.
    written: dict[str, Any] = {"logit_bias": {" dragon": 100.0}}
    with caplog.at_level(logging.DEBUG, "oxillama"):
        handle = demo.submit(SECRET, max_tokens=8, seed=1, stop=["secret stop"], logprobs=1, **written)
        completion = handle.result()
        stream = demo.stream(SECRET, max_tokens=8, seed=1, **written)
        chunks = list(stream)
    shown = [
        repr(value)
        for value in (handle, handle.handles[0], handle._spec, completion, completion.logprobs, stream, *chunks)
    ]
    events = handle._delivery.choices[0].events
    shown += [repr(events), caplog.text]
    assert "dragon" in completion.text
    words = {word for word in (*SECRET.split(), *completion.text.split(), "stop") if len(word) > 2}
    for text in shown:
        assert not [word for word in words if word in text.replace("finish_reason='stop'", "")]
    n_read = handle.usage.prompt_tokens
    assert repr(handle) == f"<RequestHandle {handle.id}: done, 1 choices, {n_read} tokens read, 8 written>"


def test_repr_of_an_evaluation_shows_no_text(demo: Engine) -> None:
    handle = demo._prepare_evaluation(SECRET, keep_logits=False)
    handle.result()
    assert "secret" not in repr(handle) + repr(handle.handles[0]) + repr(handle._spec)
    assert "prompt tokens" in repr(handle.handles[0])
