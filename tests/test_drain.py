"""What a drain does to those who are not in yet."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from oxillama import Engine, EngineClosedError
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
        eventually(lambda: engine._worker.stats()["num_in_line"] == 1)
        assert not engine.drain(timeout=0)
        with pytest.raises(EngineClosedError, match="draining"):
            waiting.result()
    assert not running.done
    assert not queued.done
