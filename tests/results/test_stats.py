"""The engine's counters and gauges."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from oxillama import Engine, EngineStats, cpu_info
from tests.patience import eventually, is_idle


def test_an_engine_starts_with_nothing(long_engine: Engine) -> None:
    stats = long_engine.stats()
    assert isinstance(stats, EngineStats)
    n_blocks = stats.kv_blocks_free
    assert n_blocks * 32 >= long_engine.n_ctx
    found = {name: value for name, value in stats.to_dict().items() if value}
    assert found.pop("grammar_engine", "none") in ("none", cpu_info().grammar_engine)
    assert found == {"kv_blocks_free": n_blocks, "kv_bytes_promised": long_engine.memory.kv_cache}


def test_the_cache_shows_what_it_has_been_promised_what_it_has_taken_and_what_is_in_use(
    open_long: Callable[..., Engine],
) -> None:
    engine = open_long(kv_cache_tokens=1 << 18)
    block = engine.stats().kv_bytes_promised // (1 << 13)
    stream = engine.stream("x" * 5000, max_tokens=1000, ignore_eos=True)
    next(stream)
    stats = engine.stats()
    assert 5000 // 32 * block < stats.kv_bytes_used == stats.kv_blocks_used * block
    # In whole huge pages, be there such or not.
    assert stats.kv_bytes_used <= stats.kv_bytes_resident < stats.kv_bytes_used + (4 << 20) < stats.kv_bytes_promised
    stream.close()
    eventually(lambda: is_idle(engine))
    assert engine.stats().kv_bytes_used == 0
    assert engine.stats().kv_bytes_resident >= stats.kv_bytes_resident
    engine.close()
    closed = engine.stats()
    assert closed.kv_bytes_promised == closed.kv_bytes_resident == closed.kv_bytes_used == 0


def test_counters_count(long_engine: Engine) -> None:
    blocks = long_engine.stats().kv_blocks_free
    completions = [long_engine.generate([7] * 100, max_tokens=20, ignore_eos=True) for _ in range(3)]
    eventually(lambda: is_idle(long_engine))
    stats = long_engine.stats()
    assert stats.finished == 3
    assert stats.output_tokens == 60
    # The last token of a sequence is never computed; the first is, with the prompt.
    assert stats.prompt_tokens + stats.cached_tokens == 300
    assert stats.cached_tokens == sum(completion.usage.cached_tokens for completion in completions) == 192
    assert stats.steps >= 60
    assert 0 < stats.step_seconds <= stats.busy_seconds
    assert stats.tokens_per_second > 0
    assert stats.preemptions == 0
    assert stats.kv_blocks_used == 0
    assert stats.kv_blocks_cached >= 3
    assert stats.kv_blocks_free + stats.kv_blocks_cached == blocks


def test_gauges_show_who_runs_and_who_waits(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=2)
    handles = [engine.submit("x", ignore_eos=True) for _ in range(5)]

    def gauges() -> tuple[int, int, int]:
        stats = engine.stats()
        return stats.running, stats.waiting, stats.queue_depth

    # Each gauge is set by itself, so what belongs together is waited for together.
    eventually(lambda: gauges() == (2, 3, 3) and engine.stats().kv_blocks_used >= 2)
    handles[0].cancel()
    eventually(lambda: gauges() == (2, 2, 2))
    handles.clear()
    eventually(lambda: is_idle(engine))
    assert engine.stats().finished == 5


def test_preemptions_are_counted(open_long: Callable[..., Engine]) -> None:
    engine = open_long(n_ctx=256, kv_cache_tokens=256)
    # Choices enter together, so they certainly meet.
    engine.generate("x" * 60, n=2, max_tokens=150, ignore_eos=True)
    assert engine.stats().preemptions > 0


def test_they_can_be_written_as_json(demo: Engine) -> None:
    assert json.loads(json.dumps(demo.stats().to_dict())) == demo.stats().to_dict()


def test_waiting_and_first_tokens_are_timed(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_size=1)
    handles = [engine.submit("x", max_tokens=200, ignore_eos=True) for _ in range(4)]
    timings = [handle.result().timings for handle in handles]
    eventually(lambda: is_idle(engine))
    stats = engine.stats()
    assert stats.queue_seconds == pytest.approx(sum(timing.queue for timing in timings) / 4, abs=1e-6)
    assert stats.ttft_seconds == pytest.approx(sum(timing.ttft for timing in timings) / 4, abs=1e-6)
    assert stats.ttft_seconds > stats.queue_seconds > 0
    engine.embed("x")  # starts, and writes nothing
    eventually(lambda: is_idle(engine))
    assert engine.stats().ttft_seconds == stats.ttft_seconds
    assert engine.stats().queue_seconds != stats.queue_seconds


def test_a_stall_shows_while_there_is_work(long_engine: Engine) -> None:
    handle = long_engine.submit("x", ignore_eos=True)
    eventually(lambda: handle.usage.completion_tokens > 0)
    raw = long_engine._worker.stats()
    assert EngineStats.from_worker(raw).stalled_seconds < 5
    later = {**raw, "now_ns": raw["heartbeat_ns"] + 90_000_000_000}
    assert EngineStats.from_worker(later).stalled_seconds == 90
    for nothing in ({"queue_depth": 0, "num_running": 0, "num_waiting": 0}, {"heartbeat_ns": 0}):
        assert EngineStats.from_worker({**later, **nothing}).stalled_seconds == 0


def test_a_long_step_is_no_stall(open_long: Callable[..., Engine]) -> None:
    engine = open_long(max_batch_tokens=32_000)
    handle = engine.submit_embedding([5] * 60_000)
    worst = 0.0
    while not handle.done and engine.stats().busy_seconds < 3:
        worst = max(worst, engine.stats().stalled_seconds)
    handle.cancel()
    eventually(lambda: is_idle(engine))
    longest = engine.stats().step_seconds
    assert longest == 0 or worst <= longest
