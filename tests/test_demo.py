"""The embedded demo model against its record of float32 PyTorch: needs nothing but the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine, cpu_info

RECORD = Path(__file__).parent / "data" / "demo_reference.json"
# 8-bit activations against float32 ones: what the conformance data of other Q8_0 models allow, too.
TOLERANCE = 1e-3 if cpu_info().isa == "reference" else 0.35


@pytest.fixture(scope="module")
def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(RECORD.read_text())["cases"]
    return found


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine.demo(kv_dtype="f32", progress=False) as engine:
        yield engine


def test_prompts_become_the_recorded_ids(engine: Engine, cases: list[dict[str, Any]]) -> None:
    for case in cases:
        assert list(engine.tokenize(case["prompt"], parse_special=True)) == case["ids"]


def test_logits(engine: Engine, cases: list[dict[str, Any]]) -> None:
    for case in cases:
        logits = engine.logits(case["ids"])[-1]
        assert max(abs(float(logits[token]) - value) for token, value in case["top20"]) <= TOLERANCE


def test_greedy_continuations(engine: Engine, cases: list[dict[str, Any]]) -> None:
    for case in cases:
        expected, margins = case["greedy_ids"], case["greedy_margin"]
        certain = next((step for step, margin in enumerate(margins) if margin <= 2 * TOLERANCE), len(expected))
        found = list(engine.generate(case["ids"], max_tokens=len(expected), temperature=0).token_ids)
        # Whether the token that ends a text belongs to `token_ids` is the engine's affair.
        assert found[:certain] == expected[: min(certain, len(found))]
        assert len(found) >= min(certain, len(expected) - 1)


def test_a_story_has_an_end(engine: Engine) -> None:
    result = engine.generate("Once upon a time", max_tokens=400, temperature=0.8, min_p=0.05, seed=1)
    assert result.finish_reason == "stop"
    assert 300 < len(result.text) < 2500
    assert result.text.isascii()


@pytest.mark.skipif(cpu_info().isa == "reference", reason="this is the reference level already")
def test_the_reference_level_is_exact() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "logits or greedy", __file__]
    done = subprocess.run(command, env=os.environ | {"OXILLAMA_ISA": "reference"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
