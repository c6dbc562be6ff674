"""Work beside an event loop: in threads, few at a time, in order, long texts apart from short ones."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import pytest

from oxillama import ContextLengthError, Engine
from oxillama.requests.beside import INLINE, LANES, LONG, beside, beside_if_long, wait_beside
from oxillama.tokenizer import Tokenizer

LIMIT = 60.0  # seconds, for what takes none on an idle machine
SIZES = (LONG, LONG + 1, LANES[1][0] + 1)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.anyio
async def test_what_is_little_is_done_at_once() -> None:
    here = threading.get_ident()
    assert await beside_if_long(threading.get_ident, size=INLINE) == here
    assert await beside_if_long(threading.get_ident, size=INLINE + 1) != here
    assert await beside(threading.get_ident, size=0) != here


@pytest.mark.anyio
@pytest.mark.parametrize("size", SIZES)
async def test_few_at_a_time_and_in_order(size: int) -> None:
    lock, running, most, order = threading.Lock(), 0, 0, []
    gate = threading.Event()
    threads = LANES[SIZES.index(size)][1]

    def work(index: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            order.append(index)
        gate.wait(LIMIT)
        with lock:
            running -= 1

    async with anyio.create_task_group() as tasks:
        for index in range(threads + 6):
            tasks.start_soon(partial(beside, partial(work, index), size=size))
            await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(LIMIT):
            while len(order) < threads:
                await anyio.sleep(0.001)
        # Other lanes are free meanwhile, and so is the loop.
        for other in SIZES:
            if other != size:
                await beside(lambda: None, size=other)
        assert len(order) == threads
        gate.set()
    assert most == threads
    assert sorted(order[:threads]) == list(range(threads))
    assert sorted(order) == list(range(threads + 6))
    if threads == 1:
        assert order == list(range(7))


@pytest.mark.anyio
async def test_one_who_is_cancelled_while_waiting_leaves_the_line() -> None:
    gate, done = threading.Event(), []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: beside(lambda: gate.wait(LIMIT), size=SIZES[2]))
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0) as scope:
            await beside(lambda: done.append("cancelled"), size=SIZES[2])
        assert scope.cancelled_caught
        gate.set()
        await beside(lambda: done.append("next"), size=SIZES[2])
    assert done == ["next"]


@pytest.mark.anyio
async def test_what_work_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await beside(lambda: 1 // 0, size=0)


@pytest.mark.anyio
@pytest.mark.parametrize("size", SIZES)
async def test_work_that_waits_for_another_thread_leaves_the_lane(size: int) -> None:
    """Grammars that are slow to compile hold nobody up whose work waits for nothing."""
    threads = LANES[SIZES.index(size)][1]
    done, answers, limit = threading.Event(), [], time.monotonic() + LIMIT

    async def wait() -> None:
        answers.append(await beside(lambda: wait_beside(done, limit), size=size))

    async with anyio.create_task_group() as tasks:
        for _ in range(threads + 6):
            tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert await beside(lambda: "free", size=size) == "free"
        assert answers == []
        done.set()
    assert answers == [True] * (threads + 6)


@pytest.mark.anyio
async def test_a_wait_has_an_end_in_a_lane_and_outside() -> None:
    never = threading.Event()
    assert not await beside(lambda: wait_beside(never, time.monotonic() + 0.01), size=0)
    limit = time.monotonic() + 0.2
    assert not await beside(lambda: wait_beside(never, limit), size=0)
    assert time.monotonic() >= limit
    assert not wait_beside(never, time.monotonic() + 0.01)


@pytest.mark.anyio
async def test_all_waits_of_one_piece_of_work_end_together() -> None:
    """However often it is done again, and whatever new limits it comes with."""
    begin, n_begun = time.monotonic(), 0

    def work() -> bool:
        nonlocal n_begun
        n_begun += 1
        return wait_beside(threading.Event(), time.monotonic() + 0.3)

    assert not await beside(work, size=0)
    assert n_begun == 2
    assert time.monotonic() - begin < LIMIT / 2


@pytest.mark.anyio
async def test_one_who_waits_in_no_lane_can_be_cancelled() -> None:
    limit = time.monotonic() + LIMIT
    with anyio.move_on_after(0.2) as scope:
        await beside(lambda: wait_beside(threading.Event(), limit), size=0)
    assert scope.cancelled_caught
    assert time.monotonic() < limit


def test_every_loop_has_its_own_lanes() -> None:
    async def ask() -> int:
        return await beside(lambda: 1, size=SIZES[2])

    assert [anyio.run(ask, backend=backend) for backend in ("asyncio", "trio", "asyncio")] == [1, 1, 1]


# The engine's calls


async def first(chunks: AsyncIterator[Any]) -> None:
    async for _ in chunks:
        return


CHAT = "{% for m in messages %}{{ m.content }}{% endfor %}"
ASKS: dict[str, Callable[[Engine, str], Coroutine[Any, Any, Any]]] = {
    "agenerate": lambda engine, text: engine.agenerate(text, max_tokens=1),
    "asubmit": lambda engine, text: engine.asubmit(text, max_tokens=1),
    "astream": lambda engine, text: first(engine.astream(text, max_tokens=1)),
    "agenerate_batch": lambda engine, text: engine.agenerate_batch([text], max_tokens=1),
    "aembed": lambda engine, text: engine.aembed([text]),
    "alogits": lambda engine, text: engine.alogits(text),
    "alogprobs": lambda engine, text: engine.alogprobs(text),
    "achat": lambda engine, text: engine.achat([{"role": "user", "content": text}], max_tokens=1),
    "asubmit_chat": lambda engine, text: engine.asubmit_chat(iter([{"role": "user", "content": text}]), max_tokens=1),
    "astream_chat": lambda engine, text: first(
        engine.astream_chat([{"role": "user", "content": [{"type": "text", "text": text}]}], max_tokens=1)
    ),
}


@pytest.fixture
def talker(open_long: Callable[..., Engine]) -> Engine:
    return open_long(chat_template=CHAT)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ASKS)
async def test_the_loop_runs_on_while_a_long_text_is_read(
    talker: Engine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    begun, freed = threading.Event(), []
    gate = threading.Event()
    for method in ("encode", "encode_parsed"):
        real = getattr(Tokenizer, method)

        def waiting(*args: Any, real: Any = real, **kwargs: Any) -> Any:
            begun.set()
            freed.append(gate.wait(LIMIT))  # only the loop opens it
            return real(*args, **kwargs)

        monkeypatch.setattr(Tokenizer, method, waiting)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ASKS[name], talker, "a" * (INLINE + 1))
        with anyio.fail_after(LIMIT):
            while not begun.is_set():
                await anyio.sleep(0.001)
        gate.set()
    assert freed == [True]


@pytest.mark.anyio
@pytest.mark.parametrize("name", ASKS)
async def test_a_long_text_is_answered_like_a_short_one(talker: Engine, name: str) -> None:
    text = "b" * (INLINE + 1)
    if name == "astream":
        expected = talker.generate(text, max_tokens=3, seed=1)
        chunks = [chunk async for chunk in talker.astream(text, max_tokens=3, seed=1)]
        assert [token for chunk in chunks for token in chunk.token_ids] == list(expected.token_ids)
    elif name == "astream_chat":
        messages = [{"role": "user", "content": text}]
        reply = talker.chat(messages, max_tokens=3, seed=1)
        stream = talker.astream_chat(messages, max_tokens=3, seed=1)
        with pytest.raises(RuntimeError, match="has not been read yet"):
            _ = stream.handle
        assert "".join([chunk.text async for chunk in stream]) == reply.text
        assert stream.usage.prompt_tokens == reply.usage.prompt_tokens
    with pytest.raises(ContextLengthError, match="at least"):
        await ASKS[name](talker, "a" * (1 << 20))


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["astream", "astream_chat"])
async def test_a_stream_that_is_closed_before_its_first_chunk_never_asks(talker: Engine, kind: str) -> None:
    text = "a" * (INLINE + 1)
    stream: Any = (
        talker.astream(text) if kind == "astream" else talker.astream_chat([{"role": "user", "content": text}])
    )
    await stream.aclose()
    assert [chunk async for chunk in stream] == []
    assert talker.stats().steps == 0


def test_a_long_stream_can_be_read_without_a_loop(talker: Engine) -> None:
    stream = talker.astream("a" * (INLINE + 1), max_tokens=2)
    assert sum(len(chunk.token_ids) for chunk in stream) == 2
