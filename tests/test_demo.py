"""The embedded model against what float32 PyTorch made of it, as recorded in tests/data/demo_reference.json."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine, cpu_info
from oxillama.demo import demo_path

REFERENCE = json.loads((Path(__file__).parent / "data" / "demo_reference.json").read_text("utf-8"))
CASES: list[dict[str, Any]] = REFERENCE["cases"]
# Every level but the reference rounds activations to 8 bits.
TOLERANCE = 1e-3 if cpu_info().isa == "reference" else 0.35


@pytest.fixture(scope="module")
def engine() -> Any:
    # A 16-bit cache alone moves logits by up to 0.01.
    with Engine.demo(kv_dtype="f32", n_threads=1, progress=False) as opened:
        yield opened


def test_the_file_is_the_one_that_was_recorded() -> None:
    assert hashlib.sha256(demo_path().read_bytes()).hexdigest() == REFERENCE["sha256"]
    assert demo_path().stat().st_size <= 4 << 20


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["prompt"][:30])
def test_tokens_logits_and_continuation(engine: Engine, case: dict[str, Any]) -> None:
    assert engine.tokenize(case["prompt"], parse_special=True) == case["ids"]
    logits = engine.logits(case["ids"])[-1]
    assert max(abs(float(logits[token]) - value) for token, value in case["top20"]) <= TOLERANCE
    # A step whose margin is within the tolerance may go either way, and everything after it another way.
    margins = case["greedy_margin"]
    certain = next((i for i, margin in enumerate(margins) if margin <= 2 * TOLERANCE), len(margins))
    found = engine.generate(case["ids"], max_tokens=len(margins), temperature=0).token_ids
    assert list(found[:certain]) == case["greedy_ids"][:certain]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["prompt"][:30])
def test_each_step_of_the_recorded_continuation(engine: Engine, case: dict[str, Any]) -> None:
    logits = engine.logits([*case["ids"], *case["greedy_ids"]])[len(case["ids"]) - 1 : -1]
    for row, token, margin in zip(logits, case["greedy_ids"], case["greedy_margin"], strict=True):
        assert float(row.max() - row[token]) <= 2 * TOLERANCE
        if margin > 2 * TOLERANCE:
            assert int(row.argmax()) == token


def test_a_story_has_an_end(engine: Engine) -> None:
    result = engine.generate("Once upon a time", max_tokens=400, temperature=0.8, min_p=0.05, seed=1)
    assert result.finish_reason == "stop"
    assert 300 < len(result.text) < 2500
    assert result.text.isascii()


@pytest.mark.skipif(cpu_info().isa == "reference", reason="this is the reference level already")
def test_the_reference_level_is_exact() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "continuation", __file__]
    done = subprocess.run(command, env=os.environ | {"OXILLAMA_ISA": "reference"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_options_go_to_the_engine() -> None:
    with Engine.demo(n_ctx=128, max_batch_size=2, progress=False) as small:
        assert small.n_ctx == 128
    with pytest.raises(TypeError):
        Engine.demo(path="other.gguf")  # type: ignore[call-arg]
