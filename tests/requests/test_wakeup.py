"""The asynchronous calls under every event loop: the same results, cancelled with their task, without a thread."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import numpy as np
import pytest
import trio

from oxillama import (
    CompletionChunk,
    DeadlineExceeded,
    Engine,
    EngineClosedError,
    InvalidRequestError,
    QueueFullError,
    RequestCancelled,
)
from oxillama.requests.admission import Prompt
from oxillama.requests.batch import Batch
from oxillama.requests.completion_builder import CompletionStream
from oxillama.requests.wakeup import LoopMailbox
from tests.patience import eventually, growing_limits, is_idle

pytestmark = pytest.mark.anyio

PROMPT = "Once upon a time"


@pytest.fixture(
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
        pytest.param(("trio", {}), id="trio"),
    ]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    backend: tuple[str, dict[str, Any]] = request.param
    if backend[1].get("use_uvloop"):
        pytest.importorskip("uvloop")
    return backend


async def until_idle(engine: Engine) -> None:
    with anyio.fail_after(20):
        while not is_idle(engine):
            await anyio.sleep(0.002)


async def until_running(engine: Engine, n: int = 1) -> None:
    with anyio.fail_after(20):
        # Who is in the batch already may still have a place in the queue.
        while engine.stats().running < n or engine.stats().queue_depth > 0:
            await anyio.sleep(0.002)


# The same results


async def test_the_async_twins_answer_as_the_others_do(demo: Engine) -> None:
    expected = demo.generate(PROMPT, max_tokens=20, seed=3, n=2)
    found = await demo.agenerate(PROMPT, max_tokens=20, seed=3, n=2)
    assert found.choices == expected.choices
    chunks = [chunk async for chunk in demo.astream(PROMPT, max_tokens=20, seed=3)]
    assert "".join(chunk.text for chunk in chunks) == expected.text
    assert np.array_equal(await demo.alogits(PROMPT), demo.logits(PROMPT))
    assert np.array_equal(await demo.alogprobs(PROMPT), demo.logprobs(PROMPT), equal_nan=True)
    handle = await demo.asubmit(PROMPT, max_tokens=20, seed=3)
    assert (await handle.aresult()).token_ids == expected.token_ids
    assert [chunk async for chunk in handle] == []


async def test_a_batch_keeps_its_order(demo: Engine) -> None:
    prompts = [f"{PROMPT} there was number {i}" for i in range(10)]
    expected = [demo.generate(prompt, max_tokens=8, seed=1).token_ids for prompt in prompts]
    told: list[tuple[int, int]] = []
    batch = await demo.agenerate_batch(prompts, max_tokens=8, seed=1, progress=lambda *report: told.append(report))
    assert [completion.token_ids for completion in batch] == expected
    assert told == [(i + 1, 10) for i in range(10)]


async def test_64_tasks_at_once(demo: Engine) -> None:
    prompts = [f"{PROMPT} in the year {i}" for i in range(64)]
    expected = demo.generate_batch(prompts, max_tokens=12, seed=5)
    threads = set(threading.enumerate())
    new_threads: set[threading.Thread] = set()
    results: dict[int, str] = {}

    async def generate(i: int) -> None:
        results[i] = (await demo.agenerate(prompts[i], max_tokens=12, seed=5)).text

    async def stream(i: int) -> None:
        text = ""
        async for chunk in demo.astream(prompts[i], max_tokens=12, seed=5):
            text += chunk.text
            new_threads.update(set(threading.enumerate()) - threads)
        results[i] = text

    async with anyio.create_task_group() as tasks:
        for i in range(64):
            tasks.start_soon(generate if i % 2 else stream, i)
    assert results == {i: completion.text for i, completion in enumerate(expected)}
    assert new_threads == set()


async def test_the_loop_goes_on_while_a_request_runs(long_engine: Engine) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.002)
            ticks += 1

    for deadline in growing_limits():
        ticks = 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            with pytest.raises(DeadlineExceeded) as caught:
                await long_engine.agenerate("x", ignore_eos=True, deadline=deadline)
            tasks.cancel_scope.cancel()
        assert caught.value.partial is not None
        if ticks > 50 * deadline:
            break
    # A tenth of what fits in: a loop that is blocked for more than moments has fewer, however long it runs.
    assert ticks > 50 * deadline


async def test_readers_that_never_wait_let_others_run(demo: Engine) -> None:
    steps = 0

    async def step() -> None:
        nonlocal steps
        while True:
            steps += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(step)
        for _ in range(10):
            await LoopMailbox.current().wait(lambda: True)
        assert steps >= 8
        handles = [demo.submit(PROMPT, max_tokens=4, seed=seed) for seed in range(4)]
        eventually(lambda: all(handle.done for handle in handles))
        before = steps
        for handle in handles:
            await anext(aiter(handle))
        # Who is first in a round of the loop is open.
        assert steps >= before + 2
        tasks.cancel_scope.cancel()


class Answered:
    """A request that was answered before anybody asked."""

    def result(self) -> int:
        return 1

    async def aresult(self) -> int:
        return 1

    def cancel(self) -> None:
        raise AssertionError


async def test_a_batch_lets_others_run_although_nothing_makes_it_wait() -> None:
    steps: list[int] = []
    submitted: list[int] = []

    async def step() -> None:
        while True:
            steps.append(len(submitted))
            await anyio.lowlevel.checkpoint()

    async def submit(prompt: Prompt) -> Answered:
        submitted.append(len(prompt))
        return Answered()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(step)
        batch = Batch[int](["x"] * 20, max_flight=5, progress=False, label="answering")
        assert await batch.arun(submit) == [1] * 20
        tasks.cancel_scope.cancel()
    # Others had their turn while every few of them were on their way.
    assert len(set(steps)) > 10


# Cancelling


@pytest.mark.parametrize("kind", ["agenerate", "astream", "aresult of a handle", "agenerate_batch", "alogits"])
async def test_cancelling_the_task_cancels_the_request(open_long: Callable[..., Engine], kind: str) -> None:
    engine = open_long(max_batch_tokens=64)

    async def work() -> None:
        match kind:
            case "agenerate":
                await engine.agenerate("x", ignore_eos=True)
            case "astream":
                async for _ in engine.astream("x", ignore_eos=True):
                    pass
            case "aresult of a handle":
                handle = await engine.asubmit("x", ignore_eos=True)
                await handle.aresult()
            case "agenerate_batch":
                await engine.agenerate_batch(["x", "y", "z"], ignore_eos=True)
            case "alogits":
                await engine.alogits("x" * 20_000)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await until_running(engine)
        tasks.cancel_scope.cancel()
    gc.collect()
    await until_idle(engine)
    assert engine.state == "ready"


async def test_a_queued_request_is_cancelled_with_its_task(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1)
    running = await engine.asubmit("x", ignore_eos=True)
    with anyio.move_on_after(0.1) as scope:
        await engine.agenerate("y")
    assert scope.cancelled_caught
    with anyio.fail_after(20):
        while engine.stats().queue_depth:
            await anyio.sleep(0.002)
    assert not running.done


@pytest.mark.parametrize("way", ["break", "aclose", "async with", "del"])
async def test_leaving_a_stream_cancels_the_request(long_engine: Engine, way: str) -> None:
    if way == "break":
        async for _ in long_engine.astream("x", ignore_eos=True):
            break
    else:
        stream = long_engine.astream("x", ignore_eos=True)
        await anext(stream)
        if way == "aclose":
            await stream.aclose()
            assert [chunk async for chunk in stream] == []
        elif way == "async with":
            async with stream:
                await anext(stream)
        else:
            del stream
    gc.collect()
    await until_idle(long_engine)
    assert long_engine.stats().finished == 1


async def test_a_cancelled_reader_ends_a_stream_that_others_still_hold(long_engine: Engine) -> None:
    stream = long_engine.astream("x", ignore_eos=True)

    async def read() -> None:
        async for _ in stream:
            pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await until_running(long_engine)
        tasks.cancel_scope.cancel()
    await until_idle(long_engine)
    assert [chunk async for chunk in stream] == []


async def test_somebody_else_may_cancel(long_engine: Engine) -> None:
    stream = long_engine.astream("x", ignore_eos=True)
    seen: list[CompletionChunk] = []

    async def read() -> None:
        with pytest.raises(RequestCancelled) as caught:
            seen.extend([chunk async for chunk in stream])
        assert caught.value.partial is not None

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await until_running(long_engine)
        stream.handle.cancel()


async def test_a_cancelled_reader_leaves_the_others_awake(long_engine: Engine) -> None:
    # Whoever watches the descriptor for all is cancelled again and again.
    finished: list[int] = []

    async def impatient() -> None:
        for _ in range(20):
            with anyio.move_on_after(0.003):
                async for _ in long_engine.astream("x", ignore_eos=True):
                    pass

    async def patient(i: int) -> None:
        completion = await long_engine.agenerate(f"{i}", max_tokens=300, seed=i, ignore_eos=True)
        finished.append(completion.usage.completion_tokens)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for i in range(6):
                tasks.start_soon(impatient)
                tasks.start_soon(patient, i)
    assert finished == [300] * 6


# The queue


async def test_a_full_queue_refuses_at_once_or_is_waited_for(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    running = [await engine.asubmit("x", ignore_eos=True)]
    await until_running(engine)
    running.append(await engine.asubmit("x", ignore_eos=True))
    with pytest.raises(QueueFullError):
        await engine.agenerate("y")
    with pytest.raises(QueueFullError):
        engine.astream("y")
    ticks = 0

    async def make_room() -> None:
        nonlocal ticks
        for _ in range(20):
            await anyio.sleep(0.005)
            ticks += 1
        running.clear()

    started = time.monotonic()
    with pytest.raises(QueueFullError):
        await anext(engine.astream("y", queue_timeout=0.1))
    assert time.monotonic() - started >= 0.1
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(make_room)
            chunks = [chunk async for chunk in engine.astream("y", max_tokens=2, ignore_eos=True, queue_timeout=None)]
    assert len(chunks) == 2
    # The loop was free while the stream waited.
    assert ticks == 20


# The end


async def test_closing_ends_waiting_tasks(long_engine: Engine) -> None:
    errors: list[type[BaseException]] = []

    async def work() -> None:
        try:
            await long_engine.agenerate("x", ignore_eos=True)
        except EngineClosedError as error:
            errors.append(type(error))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(work)
            await until_running(long_engine, 3)
            await long_engine.aclose()
    assert errors == [EngineClosedError] * 3


async def test_leaving_async_with_closes(long_model: Any) -> None:
    async with await Engine.aopen(long_model, n_threads=1, progress=False) as engine:
        assert engine.state == "ready"
        assert (await engine.agenerate("x", max_tokens=2, ignore_eos=True)).usage.completion_tokens == 2
    assert str(engine.state) == "closed"


async def test_draining_waits_without_blocking(long_engine: Engine) -> None:
    handle = await long_engine.asubmit("x", max_tokens=2000, ignore_eos=True)
    endless = await long_engine.asubmit("x", ignore_eos=True)
    assert await long_engine.adrain(timeout=0) is False
    endless.cancel()
    assert await long_engine.adrain(timeout=60) is True
    assert handle.done


# Opening


async def test_opening_tells_its_progress(long_model: Any) -> None:
    told: list[tuple[int, int]] = []
    engine = await Engine.aopen(long_model, n_threads=1, progress=lambda done, total: told.append((done, total)))
    engine.close()
    assert told[-1][0] == told[-1][1] > 0


async def test_opening_can_be_cancelled(long_model: Any) -> None:
    reached, go_on = threading.Event(), threading.Event()
    reports: list[int] = []

    def report(done: int, total: int) -> None:
        reports.append(done)
        reached.set()
        go_on.wait(20)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: Engine.aopen(long_model, n_threads=1, progress=report))
        await anyio.to_thread.run_sync(reached.wait)
        tasks.cancel_scope.cancel()
    go_on.set()
    await anyio.sleep(0.1)
    assert len(reports) == 1


async def test_opening_raises_what_is_wrong(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError):
        await Engine.aopen(tmp_path / "missing.gguf")
    with pytest.raises(InvalidRequestError):
        await Engine.aopen(tmp_path / "missing.gguf", n_threads=0)


# Loops and threads


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_request_belongs_to_one_loop(long_engine: Engine) -> None:
    handle = await long_engine.asubmit("x", ignore_eos=True)
    with anyio.move_on_after(0.01):
        await handle.aresult()
    caught: list[BaseException] = []

    def other_loop() -> None:
        try:
            asyncio.run(handle.aresult())
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=other_loop)
    thread.start()
    with anyio.fail_after(20):
        while thread.is_alive():
            await anyio.sleep(0.01)
    assert [type(error) for error in caught] == [RuntimeError]
    assert "another event loop" in str(caught[0])


def test_two_loops_in_two_threads(demo: Engine) -> None:
    prompts = [f"{PROMPT} in room {i}" for i in range(16)]
    expected = [completion.text for completion in demo.generate_batch(prompts, max_tokens=12, seed=5)]
    found: dict[str, list[str]] = {}

    async def ask_all() -> list[str]:
        texts = [""] * len(prompts)

        async def ask(i: int) -> None:
            texts[i] = (await demo.agenerate(prompts[i], max_tokens=12, seed=5)).text

        async with anyio.create_task_group() as tasks:
            for i in range(len(prompts)):
                tasks.start_soon(ask, i)
        return texts

    def run_asyncio() -> None:
        found["asyncio"] = asyncio.run(ask_all())

    def run_trio() -> None:
        found["trio"] = trio.run(ask_all)

    threads = [threading.Thread(target=run_asyncio), threading.Thread(target=run_trio)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {"asyncio": expected, "trio": expected}


async def test_one_mailbox_per_loop() -> None:
    assert LoopMailbox.current() is LoopMailbox.current()


def test_a_loop_that_ends_leaves_no_descriptor(demo: Engine) -> None:
    import os

    def n_open() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    async def ask() -> None:
        await demo.agenerate(PROMPT, max_tokens=2)

    asyncio.run(ask())
    before = n_open()
    for _ in range(5):
        asyncio.run(ask())
    eventually(lambda: n_open() <= before)


async def test_sync_streams_refuse_nothing_of_async_ones(demo: Engine) -> None:
    stream: CompletionStream = demo.astream(PROMPT, max_tokens=3, seed=1)
    # The object is the same, so it may even be read without a loop.
    assert "".join(chunk.text for chunk in stream) == demo.generate(PROMPT, max_tokens=3, seed=1).text
