"""An engine's figures over time."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from oxillama import Engine, InvalidRequestError, OxillamaError
from oxillama import recording as module
from oxillama.recording import StatsRecording
from tests.patience import eventually, is_idle


def test_a_recording_has_what_happened_between_its_ends(demo: Engine) -> None:
    eventually(lambda: is_idle(demo))
    with StatsRecording(demo, seconds=0.005) as recording:
        for _ in range(3):
            demo.generate("Once upon a time", max_tokens=20, ignore_eos=True)
        eventually(lambda: is_idle(demo))
    (start, first), *_, (end, last) = recording.samples
    assert 0 <= start < end
    assert last.output_tokens - first.output_tokens == 60
    total = sum(
        written * (after - before)
        for (_, written, _), (before, _), (after, _) in zip(
            recording.rates(), recording.samples, recording.samples[1:], strict=False
        )
    )
    assert total == pytest.approx(60)
    taken = len(recording.samples)
    demo.generate("Once", max_tokens=1)
    assert len(recording.samples) == taken, "over is over"


def test_memory_is_bounded(demo: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLES", 8)
    with StatsRecording(demo, seconds=0.001) as recording:
        eventually(lambda: recording._seconds > 0.004)
    assert len(recording.samples) <= 10
    times = [at for at, _ in recording.samples]
    assert times == sorted(times)


def test_it_is_drawn(demo: Engine, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    with StatsRecording(demo, seconds=0.01) as recording:
        demo.generate("Once upon a time", max_tokens=20)
    figure = recording.plot()
    assert [axes.get_ylabel() for axes in figure.axes] == ["tokens per second", "sequences", "KV blocks"]
    figure.savefig(tmp_path / "stats.svg")
    assert (tmp_path / "stats.svg").stat().st_size > 1000


def test_without_matplotlib_it_says_what_is_missing(demo: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with StatsRecording(demo) as recording:
        pass
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(OxillamaError, match="needs matplotlib"):
        recording.plot()


def test_a_pace_that_cannot_be_is_refused(demo: Engine) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        StatsRecording(demo, seconds=0)
    assert raised.value.param == "seconds"
