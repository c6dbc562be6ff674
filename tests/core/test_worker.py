"""The worker seen from outside: who is told of its end, and that no request outlives it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest

from oxillama import Engine, EngineClosedError
from tests.patience import eventually


def test_everybody_who_waits_for_a_worker_that_dies_is_told(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1, queue_size=2)
    running = engine.submit("x", ignore_eos=True)
    eventually(lambda: running.usage.completion_tokens > 0)
    queued = engine.submit("x", ignore_eos=True)
    embedding = engine.submit_embedding("x")

    def stream() -> None:
        for _ in running:
            pass

    async def generate() -> None:
        await engine.agenerate("y", queue_timeout=None)

    waits: list[Callable[[], Any]] = [
        stream,
        queued.result,
        lambda: anyio.run(queued.aresult),
        embedding.result,
        lambda: engine.generate("y", queue_timeout=None),
        lambda: anyio.run(generate),
        lambda: anyio.run(generate, backend="trio"),
    ]
    with ThreadPoolExecutor(len(waits)) as pool:
        outcomes = [pool.submit(wait) for wait in waits]
        eventually(lambda: engine._worker.stats()["num_in_line"] == 3)
        engine._worker.close()  # as if by itself
        assert [type(outcome.exception(20)) for outcome in outcomes] == [EngineClosedError] * len(waits)
    assert engine.state == "failed"


def test_two_waiters_of_one_request_both_see_its_end(demo: Engine) -> None:
    for seed in range(20):
        handle = demo.submit("Once", max_tokens=30, seed=seed, ignore_eos=True)
        with ThreadPoolExecutor(3) as pool:
            found = [
                pool.submit(handle.result),
                pool.submit(lambda: anyio.run(handle.aresult)),  # noqa: B023
                pool.submit(handle.result),
            ]
            assert len({outcome.result(20).token_ids for outcome in found}) == 1


def test_an_idle_worker_makes_the_pages_of_the_weights_large() -> None:
    with Engine.demo(progress=False, n_threads=2) as engine:
        before = engine.generate("Once", max_tokens=20, temperature=0).text
        program = engine._worker.program
        assert program is not None
        pages = program.weights
        assert pages is not None
        pages.touch(small=True)
        assert engine.generate("Once", max_tokens=20, temperature=0).text == before
        eventually(lambda: pages.is_settled)
        assert engine.generate("Once", max_tokens=20, temperature=0).text == before


def test_a_closed_worker_takes_nothing_more(open_long: Callable[..., Engine]) -> None:
    engine = open_long()
    worker = engine._worker
    handle = engine.prepare("x", max_tokens=1)
    worker.close()
    worker.close()
    assert not worker.is_running
    assert worker.program is None
    with pytest.raises(EngineClosedError):
        handle.enter()
    assert worker.stats()["queue_depth"] == 0
