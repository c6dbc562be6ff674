"""The profile of an engine's steps adds up, and is taken only while asked for."""

from __future__ import annotations

import pytest

from oxillama import Engine, EngineClosedError
from oxillama.profiling import StepProfile, profiling


def test_a_profile_adds_up_to_its_steps() -> None:
    kept: list[StepProfile] = []
    with Engine.demo(n_threads=2) as engine:
        with profiling(engine, kept.append) as found:
            engine.generate("Once", max_tokens=12, temperature=0, ignore_eos=True)
        engine.generate("Once", max_tokens=5, temperature=0, ignore_eos=True)
        layers = int(engine.metadata["llama.block_count"])
    assert kept == [found]
    assert found.steps == 12
    parts = [entry.seconds for entry in found.operations]
    assert all(part > 0 for part in parts)
    assert parts == sorted(parts, reverse=True)
    assert sum(parts) + found.waiting + found.team + found.sampling + found.rest == pytest.approx(found.step)
    calls = {entry.name: entry.calls for entry in found.operations}
    assert calls["attention"] == calls["kv store"] == layers
    assert any(entry.matrices.endswith("Q8_0") for entry in found.operations if entry.name == "product")
    main = sum(entry.seconds for entry in found.operations if entry.name in ("product", "attention"))
    assert found.other == pytest.approx(found.step - main - found.waiting)
    assert found.to_dict()["other"] == found.other


def test_a_block_without_steps_gives_an_empty_profile() -> None:
    with Engine.demo(n_threads=1) as engine:
        with profiling(engine) as found:
            pass
        assert found == StepProfile()
    with pytest.raises(EngineClosedError), profiling(engine):
        pass
