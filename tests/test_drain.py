"""What a drain does to those who are not in yet."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from oxillama import Engine, EngineClosedError, lifecycle
from tests.patience import eventually


def test_a_drain_tells_those_who_wait_for_room(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1, queue_size=1)
    running = engine.submit("x", ignore_eos=True)
    eventually(lambda: engine.stats().queue_depth == 0)
    queued = engine.submit("x", ignore_eos=True)

    async def wait_for_room() -> None:
        with anyio.fail_after(20):
            await engine.agenerate("y", queue_timeout=None)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(anyio.run, wait_for_room)
        eventually(lambda: engine._worker.stats()["num_waiters"] == 1)
        assert not engine.drain(timeout=0)
        with pytest.raises(EngineClosedError, match="draining"):
            waiting.result()
    assert not running.done
    assert not queued.done


def test_a_drain_sleeps_until_the_last_request_has_ended(long_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Woken by the worker's rest, not by looking again and again."""
    monkeypatch.setattr(lifecycle, "SIGNAL_SECONDS", 30.0)
    running = long_engine.submit("x", max_tokens=50, ignore_eos=True)
    looks = 0
    is_busy = long_engine._lifecycle._is_busy

    def counted() -> bool:
        nonlocal looks
        looks += 1
        return is_busy()

    monkeypatch.setattr(long_engine._lifecycle, "_is_busy", counted)
    assert long_engine.drain(timeout=60)
    assert running.done
    assert looks < 10


def test_a_drain_in_an_event_loop_sleeps_too(long_engine: Engine) -> None:
    running = long_engine.submit("x", max_tokens=50, ignore_eos=True)
    assert anyio.run(long_engine.adrain, 60)
    assert running.done


def test_the_end_of_the_engine_ends_a_drain(long_engine: Engine) -> None:
    long_engine.submit("x", ignore_eos=True)
    with ThreadPoolExecutor(1) as pool:
        draining = pool.submit(long_engine.drain)
        eventually(lambda: long_engine.state == "draining")
        long_engine.close()
        assert draining.result(timeout=60)
