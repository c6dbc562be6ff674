"""Recorded results of llama.cpp with adapters, alone and together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine


@pytest.fixture(scope="module")
def cases(fixtures_dir: Path) -> dict[str, Any]:
    return dict(json.loads((fixtures_dir / "lora" / "llama.json").read_text()))


@pytest.fixture(scope="module")
def engine(fixtures_dir: Path, cases: dict[str, Any]) -> Iterator[Engine]:
    base = fixtures_dir / "arch" / "llama.gguf"
    with Engine(base, n_ctx=cases["n_ctx"], n_threads=2, kv_dtype="f32", progress=False) as engine:
        for name, told in cases["adapters"].items():
            info = engine.load_lora(name, fixtures_dir / "lora" / told["gguf"])
            assert info.rank == told["rank"]
        yield engine


@pytest.mark.parametrize("index", range(18))
def test_logits_and_greedy_tokens(index: int, engine: Engine, cases: dict[str, Any], fixtures_dir: Path) -> None:
    case = cases["cases"][index]
    same_set = [each for each in cases["cases"] if each["set"] == case["set"]]
    recorded = np.load(fixtures_dir / "lora" / "llama.npz")[f"{case['set']}_p{same_set.index(case)}_lcpp_f32"]
    lora = [(name.removesuffix(".gguf").removeprefix("llama-"), scale) for name, scale in case["lora"]]
    found = engine.logits(case["ids"], lora=lora)
    tolerance = max(0.02, 3 * case["max_abs_lcpp_f16_vs_f32"])
    assert np.abs(found[-1] - recorded).max() < tolerance
    assert (found.argmax(axis=1) == case["top1_lcpp"]).mean() >= 0.95
    written = engine.generate(case["ids"], lora=lora, max_tokens=16, temperature=0, ignore_eos=True).token_ids
    for token, expected, margin in zip(written, case["greedy_lcpp"], case["greedy_lcpp_margin"], strict=False):
        if margin < 2 * tolerance:
            break
        assert token == expected
