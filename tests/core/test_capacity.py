"""Room in the queue: given in the order of arrival, to nobody else, and given back by whoever leaves."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable

import anyio
import pytest

from oxillama import DeadlineExceeded, Engine, EngineClosedError, QueueFullError, RequestCancelled, RequestHandle
from oxillama._core.scheduling.mailbox import Mailbox
from oxillama._core.scheduling.waiter import Waiter
from tests.patience import eventually, is_idle

Open = Callable[..., Engine]


def fill(engine: Engine, n_queued: int = 1) -> list[RequestHandle]:
    """One running for ever, the others queued behind it, of an engine with a batch of one."""
    running = engine.submit("x", ignore_eos=True)
    eventually(lambda: running.usage.completion_tokens > 0)
    return [running, *(engine.submit("x", ignore_eos=True) for _ in range(n_queued))]


def start_of(handle: RequestHandle) -> float:
    return handle.handles[0].times[1]


def waiting_in(engine: Engine, n: int) -> None:
    eventually(lambda: engine._worker.stats()["num_waiters"] == n)


def test_a_ticket_is_granted_while_there_is_room(open_long: Open) -> None:
    engine = open_long(queue_size=3)
    first, second = Waiter(engine._worker, 2), Waiter(engine._worker, 2)
    assert (first.has_update(), second.has_update()) == (True, False)
    assert engine.stats().queue_depth == 2
    with pytest.raises(QueueFullError):
        engine.submit("x")  # one place is free, but somebody waits
    del first
    assert second.has_update()
    del second
    assert engine.stats().queue_depth == 0
    with pytest.raises(ValueError, match="4 requests in a queue of 3"):
        Waiter(engine._worker, 4)


def test_whoever_leaves_lets_the_next_in(open_long: Open) -> None:
    engine = open_long(queue_size=3)
    taken = Waiter(engine._worker, 2)
    large, small = Waiter(engine._worker, 3), Waiter(engine._worker, 1)
    assert not large.has_update()
    assert not small.has_update()
    del large
    assert small.has_update()
    del taken, small
    assert engine.stats().queue_depth == 0


def test_one_ticket_is_awaited_in_one_loop(open_long: Open) -> None:
    engine = open_long(queue_size=1)
    waiter = Waiter(engine._worker, 1)
    one, other = Mailbox(), Mailbox()
    waiter.attach(one)
    waiter.attach(one)
    with pytest.raises(RuntimeError, match="another event loop"):
        waiter.attach(other)


def test_threads_come_in_in_the_order_they_came(open_long: Open) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    handles: dict[int, RequestHandle] = {}

    def ask(i: int) -> None:
        handles[i] = engine.submit("y", max_tokens=1, ignore_eos=True, queue_timeout=None)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for i, thread in enumerate(threads):
        thread.start()
        waiting_in(engine, i + 1)
    pushing = True
    pushed_in: list[RequestHandle] = []

    def push() -> None:
        while pushing:
            with contextlib.suppress(QueueFullError):
                pushed_in.append(engine.submit("z", max_tokens=1, ignore_eos=True))

    pusher = threading.Thread(target=push)
    pusher.start()
    keep.clear()
    for thread in threads:
        thread.join()
    pushing = False
    pusher.join()
    starts = [start_of(handles[i]) for i in range(8) if handles[i].result()]
    assert starts == sorted(starts)
    assert all(start_of(handle) > starts[-1] for handle in pushed_in if handle.result())


def test_a_large_request_is_not_overtaken_by_small_ones(open_long: Open) -> None:
    engine = open_long(max_batch_size=1, queue_size=3)
    keep = fill(engine, n_queued=3)
    found: dict[str, RequestHandle] = {}

    def ask(name: str, n: int) -> None:
        found[name] = engine.submit("y", n=n, max_tokens=1, ignore_eos=True, queue_timeout=None)

    large = threading.Thread(target=ask, args=("large", 3))
    large.start()
    waiting_in(engine, 1)
    small = threading.Thread(target=ask, args=("small", 1))
    small.start()
    waiting_in(engine, 2)
    keep.pop()  # one place
    eventually(lambda: engine.stats().queue_depth < 3)
    time.sleep(0.1)
    assert not found
    keep.clear()
    large.join()
    small.join()
    assert found["large"].result()
    assert found["small"].result()
    assert start_of(found["large"]) < start_of(found["small"])


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_tasks_come_in_in_the_order_they_came(open_long: Open, backend: str) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    order: list[int] = []

    async def ask(i: int) -> None:
        handle = await engine.asubmit("y", max_tokens=1, ignore_eos=True, queue_timeout=None)
        order.append(i)
        await handle.aresult()

    async def main() -> None:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for i in range(8):
                    tasks.start_soon(ask, i)
                    while engine._worker.stats()["num_waiters"] < i + 1:
                        await anyio.sleep(0.001)
                keep.clear()

    anyio.run(main, backend=backend)
    assert order == list(range(8))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_wait_ends_with_its_task_its_time_or_its_deadline(open_long: Open, backend: str) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)

    async def main() -> None:
        with anyio.move_on_after(0.05) as scope:
            await engine.asubmit("y", queue_timeout=None)
        assert scope.cancelled_caught
        with pytest.raises(QueueFullError):
            await engine.asubmit("y", queue_timeout=0.05)
        with pytest.raises(DeadlineExceeded):
            await engine.asubmit("y", deadline=0.05, queue_timeout=None)

    anyio.run(main, backend=backend)
    assert engine._worker.stats()["num_waiters"] == 0
    assert len(keep) == 2


def test_cancelling_draining_and_closing_wake_who_waits(open_long: Open) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    caught: list[type[BaseException]] = []

    def wait_for(handle: RequestHandle) -> None:
        try:
            handle.enter()
        except Exception as error:
            caught.append(type(error))

    def in_line(n: int) -> RequestHandle:
        handle = engine.prepare("y", queue_timeout=None)
        threads.append(threading.Thread(target=wait_for, args=(handle,)))
        threads[-1].start()
        waiting_in(engine, n)
        return handle

    threads: list[threading.Thread] = []
    in_line(1).cancel()
    threads.pop().join()
    assert caught == [RequestCancelled]
    in_line(1)
    in_line(2)
    assert not engine.drain(timeout=0.01)
    for thread in threads:
        thread.join()
    assert caught[1:] == [EngineClosedError] * 2
    assert engine._worker.stats()["num_waiters"] == 0
    keep.clear()
    assert engine.drain(timeout=20)


def test_a_keyboard_interrupt_ends_the_wait(open_long: Open) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        # Not before: elsewhere the interrupt would end the whole run of the tests.
        waiting_in(engine, 1)
        signal.pthread_kill(main, signal.SIGINT)

    # A shell's background jobs ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        # `caught` keeps the frames of the wait, as a shell does with the last traceback.
        with pytest.raises(KeyboardInterrupt) as caught:
            engine.generate("y", queue_timeout=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert engine._worker.stats()["num_waiters"] == 0
    del caught
    assert len(keep) == 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancel_just_before_the_line_is_seen_in_it(
    open_long: Open, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    handle = engine.prepare("y", queue_timeout=None)
    join_queue = engine._lifecycle.join_queue

    def cancelled_meanwhile(n_requests: int) -> Waiter:
        handle.cancel()
        return join_queue(n_requests)

    async def main() -> None:
        with anyio.fail_after(20), pytest.raises(RequestCancelled):
            await handle.aenter()

    monkeypatch.setattr(engine._lifecycle, "join_queue", cancelled_meanwhile)
    anyio.run(main, backend=backend)
    assert engine._worker.stats()["num_waiters"] == 0
    assert len(keep) == 2


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_several_tasks_wait_for_the_place_of_one_request(open_long: Open, backend: str) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    handle = engine.prepare("y", max_tokens=2, ignore_eos=True, queue_timeout=None)
    results: list[int] = []

    async def ask() -> None:
        results.append((await handle.aresult()).usage.completion_tokens)

    async def main() -> None:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(ask)
                while engine._worker.stats()["num_waiters"] < 1:
                    await anyio.sleep(0.001)
                keep.clear()

    anyio.run(main, backend=backend)
    assert results == [2, 2, 2]
    assert engine.stats().queue_depth == 0


def test_who_joins_for_a_request_that_has_entered_keeps_no_place(open_long: Open) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    keep = fill(engine)
    handle = engine.prepare("y", max_tokens=1, ignore_eos=True, queue_timeout=None)
    assert not handle.try_enter()
    keep.clear()
    handle.enter()
    # As a thread does that looked before and joins after another one has entered.
    assert handle._join_queue().has_update()
    assert handle.try_enter()
    handle.result()
    eventually(lambda: engine.stats().queue_depth == 0)
    assert engine._worker.stats()["num_waiters"] == 0


def test_a_crowd_of_threads_and_tasks_all_come_in_or_leave(open_long: Open) -> None:
    engine = open_long(max_batch_size=2, queue_size=3)
    counts = {"done": 0, "full": 0, "cancelled": 0}
    lock = threading.Lock()

    def count(name: str) -> None:
        with lock:
            counts[name] += 1

    def threaded(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(30):
            try:
                handle = engine.submit(
                    "y",
                    n=chosen.randint(1, 3),
                    max_tokens=2,
                    ignore_eos=True,
                    queue_timeout=chosen.choice([0.001, 0.02, None]),
                )
            except QueueFullError:
                count("full")
                continue
            handle.result()
            count("done")

    async def tasked(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(30):
            with anyio.move_on_after(chosen.choice([0.001, 0.02, 20])) as scope:
                await engine.agenerate("y", n=chosen.randint(1, 3), max_tokens=2, ignore_eos=True, queue_timeout=None)
                count("done")
            if scope.cancelled_caught:
                count("cancelled")

    async def tasks() -> None:
        async with anyio.create_task_group() as group:
            for seed in range(8):
                group.start_soon(tasked, seed)

    threads = [threading.Thread(target=threaded, args=(seed,)) for seed in range(8)]
    threads += [
        threading.Thread(target=anyio.run, args=(tasks,), kwargs={"backend": name}) for name in ("asyncio", "trio")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert sum(counts.values()) == 8 * 30 + 2 * 8 * 30
    assert counts["done"] > 0
    eventually(lambda: is_idle(engine))
    assert engine._worker.stats()["num_waiters"] == 0
