"""Families without recorded files of their own: tiny random models against llama.cpp's results, at every level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oxillama import Engine, cpu_info
from tests.levels import check_at, other_levels
from tests.network.models.described import MODELS, PROMPT, RECORDED, prompt_length
from tests.network.models.described_dense import DENSE, DENSE_RECORDED, GELU

TOLERANCE = 1e-3
GELU_TOLERANCE = 5e-3  # llama.cpp's GELU reads a table of 16-bit numbers
IS_SLOW = cpu_info().isa in ("reference", "base")


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_llama_cpps(tmp_path: Path, name: str) -> None:
    if IS_SLOW and prompt_length(name) > 1000:
        pytest.skip("minutes without vectors")
    path = tmp_path / "model.gguf"
    MODELS[name].write(path)
    ids = PROMPT[: prompt_length(name)]
    with Engine(path, kv_dtype="f32", kv_cache_tokens=len(ids) + 64, progress=False) as engine:
        found = engine.logits(ids)[-1]
    assert np.abs(found - np.load(RECORDED)[name]).max() <= (GELU_TOLERANCE if "grok" in name else TOLERANCE)


@pytest.mark.parametrize("name", DENSE)
def test_dense_logits_are_llama_cpps(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    DENSE[name].write(path)
    ids = PROMPT[: prompt_length(name)]
    with Engine(path, kv_dtype="f32", kv_cache_tokens=len(ids) + 64, progress=False) as engine:
        found = engine.logits(ids)[-1]
    with np.load(DENSE_RECORDED) as recorded:
        tolerance = GELU_TOLERANCE if name.startswith(GELU) else TOLERANCE
        assert np.abs(found - recorded[name]).max() <= tolerance


@pytest.mark.parametrize("level", other_levels())
def test_every_other_level(level: str) -> None:
    check_at(level, __file__)
