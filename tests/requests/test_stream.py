"""The life cycle of a stream over a scripted request. With real ones: test_engine, test_wakeup, test_chat_async."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama import ChatStream, CompletionStream, Engine, InvalidRequestError, QueueFullError, RequestCancelled
from oxillama.messages import Message
from oxillama.requests.stream import WAIT_SECONDS, RequestStream
from oxillama.results.completion import Usage


class Script:
    """A request that delivers these batches, one after each wait, and then ends, perhaps with an error."""

    def __init__(self, *batches: list[int], end: Exception | None = None, discards_choices: bool = False) -> None:
        self.discards_choices = discards_choices
        self.usage = Usage(prompt_tokens=1, completion_tokens=2)
        self.batches = list(batches)
        self.end = end
        self.refusals: list[Exception] = []
        self.interrupts: list[BaseException] = []
        self.log: list[str] = []
        self.has_update = True

    @property
    def exhausted(self) -> bool:
        return not self.batches

    @property
    def cancelled(self) -> bool:
        return "cancel" in self.log

    def take(self) -> list[int]:
        if not self.has_update or not self.batches:
            return []
        self.has_update = False
        return self.batches.pop(0)

    def enter(self) -> None:
        self.log.append("enter")
        if self.refusals:
            raise self.refusals.pop()

    async def aenter(self) -> None:
        self.enter()

    def wait_update(self, seconds: float) -> None:
        assert seconds == WAIT_SECONDS
        self.log.append("wait")
        self.has_update = True
        if self.interrupts:
            raise self.interrupts.pop()

    async def await_update(self) -> None:
        self.wait_update(WAIT_SECONDS)

    def raise_for_end(self) -> None:
        if self.end is not None:
            raise self.end

    def cancel(self) -> None:
        self.log.append("cancel")


Stream = RequestStream[Any, int]


def streamed(script: Any) -> Stream:
    return RequestStream(script)


async def gathered(stream: Stream) -> list[int]:
    return [chunk async for chunk in stream]


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=6))
def test_every_chunk_comes_once_and_in_order(batches: list[list[int]]) -> None:
    expected = [chunk for batch in batches for chunk in batch]
    for found in (list(streamed(Script(*batches))), anyio.run(gathered, streamed(Script(*batches)))):
        assert found == expected


def test_a_stream_may_be_read_both_ways_in_turn() -> None:
    stream = streamed(Script([1, 2], [], [3, 4]))

    async def one() -> int:
        return await anext(stream)

    assert [next(stream), anyio.run(one), next(stream), anyio.run(one), *stream] == [1, 2, 3, 4]


def test_the_request_begins_with_the_first_chunk_and_not_before() -> None:
    script = Script([1])
    stream = streamed(script)
    assert script.log == []
    assert next(stream) == 1
    assert script.log == ["enter"]
    handle: object = stream.handle
    assert handle is script
    assert stream.usage is script.usage


def test_a_natural_end_stays_the_end() -> None:
    script = Script([1])
    stream = streamed(script)
    assert list(stream) == [1]
    script.batches.append([2])
    script.has_update = True
    assert list(stream) == []
    assert anyio.run(gathered, stream) == []
    assert not script.cancelled


def test_what_ended_the_request_comes_after_its_last_chunk_and_once() -> None:
    for read in (next, lambda stream: anyio.run(stream.__anext__)):
        stream = streamed(Script([1], [2], end=RequestCancelled()))
        assert [read(stream), read(stream)] == [1, 2]
        with pytest.raises(RequestCancelled):
            read(stream)
        with pytest.raises((StopIteration, StopAsyncIteration)):
            read(stream)


def test_a_closed_stream_forgets_what_it_had_and_stays_closed() -> None:
    script = Script([1, 2, 3])
    stream = streamed(script)
    assert next(stream) == 1
    stream.close()
    stream.close()
    assert list(stream) == []
    assert anyio.run(gathered, stream) == []
    assert script.log == ["enter", "cancel", "cancel"]


def test_a_stream_that_is_closed_first_never_begins() -> None:
    script = Script([1])
    stream = streamed(script)
    stream.close()
    assert list(stream) == []
    assert anyio.run(gathered, stream) == []
    assert script.log == ["cancel"]


def test_leaving_the_block_cancels() -> None:
    left, aleft = Script([1, 2]), Script([1, 2])
    with pytest.raises(ZeroDivisionError), streamed(left) as stream:
        raise ZeroDivisionError
    assert list(stream) == []

    async def leave() -> None:
        async with streamed(aleft) as astream:
            assert await anext(astream) == 1

    anyio.run(leave)
    assert left.cancelled
    assert aleft.cancelled


def test_a_refused_request_may_be_tried_again() -> None:
    for read in (next, lambda stream: anyio.run(stream.__anext__)):
        script = Script([1])
        script.refusals.append(QueueFullError("full", retry_after=1))
        stream = streamed(script)
        with pytest.raises(QueueFullError):
            read(stream)
        assert not script.cancelled
        assert read(stream) == 1


def test_an_interrupt_while_waiting_cancels() -> None:
    script = Script([], [1])
    script.interrupts.append(KeyboardInterrupt())
    stream = streamed(script)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert script.cancelled
    assert list(stream) == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancelled_task_cancels_the_request(backend: str) -> None:
    script = Script([1], [2])

    async def cancelled() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(streamed(script))

    anyio.run(cancelled, backend=backend)
    assert script.cancelled


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_stream_that_is_never_empty_lets_other_tasks_run(backend: str) -> None:
    script = Script(*[[number] for number in range(100)])
    seen: list[int] = []

    async def read() -> None:
        async for chunk in streamed(script):
            script.has_update = True  # before anybody waits for it
            seen.append(chunk)

    async def look() -> None:
        while not seen:
            await anyio.lowlevel.checkpoint()
        assert len(seen) < 10

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            tasks.start_soon(read)

    anyio.run(both, backend=backend)
    assert len(seen) == 100


def test_choices_that_are_thrown_away_cannot_be_streamed() -> None:
    with pytest.raises(InvalidRequestError) as error:
        streamed(Script([1], discards_choices=True))
    assert error.value.param == "best_of"


@pytest.mark.parametrize("is_chat", [False, True])
def test_a_stream_keeps_what_was_said(is_chat: bool, demo: Engine) -> None:
    conversation: list[Message] = [{"role": "user", "content": "Hello"}]

    def opened() -> CompletionStream | ChatStream:
        if is_chat:
            return demo.stream_chat(conversation, max_tokens=12, temperature=0)
        return demo.stream("Hello", max_tokens=12, temperature=0)

    whole = opened().result()
    stream = opened()
    assert stream.text == ""
    for _ in stream:
        pass
    assert stream.text == whole.text == stream.result().text
    # In the middle of it, and then the rest at once.
    stream = opened()
    for _ in range(4):
        next(stream)
    assert whole.text.startswith(stream.text)
    assert 0 < len(stream.text) < len(whole.text)
    assert stream.result().text == stream.text == whole.text
    assert list(stream) == []
    closed = opened()
    closed.close()
    with pytest.raises(RequestCancelled):
        closed.result()

    async def asked() -> str:
        return (await opened().aresult()).text

    assert anyio.run(asked) == whole.text
