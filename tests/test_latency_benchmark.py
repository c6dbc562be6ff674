"""The latency benchmark counts every gap, above all those at the edges of the disturbance."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "latency.py"


def latency() -> Any:
    spec = importlib.util.spec_from_file_location("latency", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += 0.5


class Writer:
    """A request whose tokens come at given times."""

    def __init__(self, clock: Clock, times: list[float]) -> None:
        self._clock, self._times = clock, times

    @property
    def usage(self) -> Any:
        return SimpleNamespace(completion_tokens=sum(time <= self._clock.now for time in self._times))


def test_no_gap_is_lost_between_phases_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, benchmark = Clock(), latency()
    monkeypatch.setattr(benchmark, "time", clock)
    # The intruder comes after 3.5 and is done by 20; its first step takes from 3 to 10, its last from 11 to 20.
    gaps = benchmark.Gaps([Writer(clock, [1, 2, 3, 10, 11, 20])])
    assert gaps.until(lambda: clock.now >= 3.5) == [1, 1]
    assert gaps.until(lambda: clock.now >= 20) == [7, 1, 9]
