"""The worker seen from outside: who is told of its end, and that no request outlives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest

from oxillama import Engine, EngineClosedError, SamplingParams
from oxillama._core.memory import Pages
from oxillama.testing.tiny_models import TinyModel
from tests.patience import eventually, is_idle


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
        eventually(lambda: engine._worker.stats()["num_waiters"] == 3)
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


def test_a_step_that_nobody_waits_for_is_not_finished(tmp_path: Path) -> None:
    path = tmp_path / "deep.gguf"
    TinyModel(n_layers=16, n_embd=128, n_ff=256, n_ctx=4096, tokenizer=True).write(path)
    with Engine(path, n_threads=1, max_batch_tokens=2048, progress=False) as engine:

        def num_steps() -> int:
            counted: int = engine._worker.stats()["num_steps"]
            return counted

        # The cancellation may come too late for a step, but not for all of them.
        for letter in "abcdefgh":
            before = num_steps()
            handle = engine.submit(letter * 2000)
            eventually(lambda: engine.stats().running == 1)
            handle.cancel()
            eventually(lambda: is_idle(engine))
            if num_steps() == before:
                return
        pytest.fail("every step was carried to its end")


@pytest.fixture
def idle() -> Iterator[tuple[Engine, Pages]]:
    """An engine with nothing to do, and the memory of its weights, which holds a huge page."""
    with Engine.demo(progress=False, n_threads=2) as engine:
        assert engine._worker.program is not None
        pages = engine._worker.program.weights
        assert pages is not None
        assert pages.size >= 2 << 20
        yield engine, pages


def test_an_idle_worker_makes_the_pages_of_the_weights_large(idle: tuple[Engine, Pages]) -> None:
    engine, pages = idle
    before = engine.generate("Once", max_tokens=20, temperature=0).text
    pages.touch(small=True)
    assert engine.generate("Once", max_tokens=20, temperature=0).text == before
    eventually(lambda: pages.is_settled)
    assert engine.generate("Once", max_tokens=20, temperature=0).text == before


def test_a_busy_worker_does_so_between_its_steps(idle: tuple[Engine, Pages]) -> None:
    engine, pages = idle
    sampling = SamplingParams(max_tokens=300, ignore_eos=True, temperature=0)
    expected = engine.generate("Once", sampling).text
    texts: set[str] = set()

    def settles_while_busy() -> bool:
        running = [engine.submit("Once", sampling) for _ in range(16)]
        eventually(lambda: running[0].usage.completion_tokens > 0)
        pages.touch(small=True)
        eventually(lambda: pages.is_settled)
        was_busy = not any(handle.done for handle in running)
        texts.update(handle.result().text for handle in running)
        return was_busy

    eventually(settles_while_busy)
    assert texts == {expected}


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
