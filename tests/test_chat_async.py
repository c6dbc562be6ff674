"""The async twins of the chat calls, under asyncio and trio."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from oxillama import ChatCompletion, ChatCompletionChunk, Engine, QueueFullError, RequestCancelled
from tests.patience import is_idle

pytestmark = pytest.mark.anyio

TURN = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def talker(open_long: Callable[..., Engine]) -> Engine:
    return open_long(chat_template="{% for m in messages %}{{ m.content }}{% endfor %}")


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.002)


async def test_the_async_twins_answer_as_the_others_do(demo: Engine) -> None:
    options: dict[str, Any] = {"max_tokens": 30, "seed": 4}
    expected = demo.chat(TURN, **options)
    reply = await demo.achat(TURN, **options)
    assert (reply.text, reply.token_ids) == (expected.text, expected.token_ids)
    chunks = [chunk async for chunk in demo.astream_chat(TURN, **options)]
    assert "".join(chunk.text for chunk in chunks) == expected.text
    handle = await demo.asubmit_chat(TURN, **options)
    assert "".join([chunk.text async for chunk in handle]) == expected.text
    assert (await handle.aresult()).text == expected.text


@pytest.mark.parametrize("kind", ["achat", "astream_chat", "aresult"])
async def test_cancelling_the_task_cancels_the_request(talker: Engine, kind: str) -> None:
    async def ask() -> None:
        if kind == "achat":
            await talker.achat(TURN, ignore_eos=True)
        elif kind == "astream_chat":
            async for _ in talker.astream_chat(TURN, ignore_eos=True):
                pass
        else:
            await (await talker.asubmit_chat(TURN, ignore_eos=True)).aresult()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await until(lambda: talker.stats().running > 0)
        tasks.cancel_scope.cancel()
    gc.collect()
    await until(lambda: is_idle(talker))


@pytest.mark.parametrize("way", ["break", "aclose", "async with", "del"])
async def test_leaving_a_stream_cancels_the_request(talker: Engine, way: str) -> None:
    stream = talker.astream_chat(TURN, ignore_eos=True)
    await anext(stream)
    if way == "break":
        async for _ in stream:
            break
    elif way == "aclose":
        await stream.aclose()
        assert [chunk async for chunk in stream] == []
    elif way == "async with":
        async with stream:
            await anext(stream)
    del stream
    gc.collect()
    await until(lambda: is_idle(talker))


async def test_somebody_else_may_cancel(talker: Engine) -> None:
    stream = talker.astream_chat(TURN, ignore_eos=True, seed=1)
    seen: list[ChatCompletionChunk] = []

    async def collect() -> None:
        async for chunk in stream:
            seen.append(chunk)

    async def read() -> None:
        with pytest.raises(RequestCancelled) as caught:
            await collect()
        assert isinstance(caught.value.partial, ChatCompletion)
        assert "".join(chunk.text for chunk in seen) == caught.value.partial.text

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await until(lambda: len(seen) > 5)
        stream.handle.cancel()


async def test_a_full_queue_refuses_at_once_or_is_waited_for(open_long: Callable[..., Engine]) -> None:
    engine = open_long(queue_size=1, max_batch_size=1, chat_template="{{ messages[0].content }}")
    running = await engine.asubmit_chat(TURN, ignore_eos=True)
    await until(lambda: running.usage.completion_tokens > 0)
    waiting = await engine.asubmit_chat(TURN, ignore_eos=True)
    with pytest.raises(QueueFullError):
        engine.astream_chat(TURN)
    with pytest.raises(QueueFullError):
        await engine.achat(TURN)
    with anyio.move_on_after(0.1) as scope:
        await engine.achat(TURN, queue_timeout=None)
    assert scope.cancelled_caught
    running.cancel()
    waiting.cancel()
    reply = await engine.achat(TURN, queue_timeout=20, max_tokens=2, ignore_eos=True)
    assert reply.usage.completion_tokens == 2
