"""Gemma 3 270M, which continues texts. Skipped as long as the engine says that it cannot run it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oxillama import Engine
from tests.real.prose import check_company, check_perplexity, perplexity
from tests.real.texts import LONG_TEXT, TWENTY
from tools.real_models import GEMMA3

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("text", "continued"),
    [
        ("one, two, three, four,", " five, six, seven,"),
        ("Monday, Tuesday, Wednesday,", " Thursday, Friday,"),
        ("The opposite of hot is", " cold."),
        ("The capital of France is", " France"),  # so small a model circles around it: "the capital of the country of"
    ],
)
def test_it_continues_a_text(gemma3: Engine, text: str, continued: str) -> None:
    assert continued in gemma3.generate(text, max_tokens=12, temperature=0).text


def test_company_changes_nothing(gemma3: Engine) -> None:
    check_company(gemma3)


def test_it_expects_english(gemma3: Engine) -> None:
    check_perplexity(gemma3, most=15)


@pytest.fixture(scope="module")
def recorded() -> Any:
    """What llama.cpp computed of this file: tools/record_gemma3.py."""
    found = json.loads((Path(__file__).parents[1] / "data" / "gemma3_270m.json").read_text())
    assert found["sha256"] == GEMMA3.sha256
    return found


@pytest.mark.parametrize("number", range(len(TWENTY)))
def test_logits_are_as_exact_as_those_of_llama_cpp(gemma3: Engine, recorded: Any, number: int) -> None:
    """Both round activations to 8 bits. Further from what float32 gives by three times as much, as for the conformance
    files, would be another network; the perplexity below says it of the mean."""
    prompt = recorded["prompts"][number]
    assert gemma3.tokenize(TWENTY[number]) == prompt["ids"]
    found = gemma3.logits(prompt["ids"])[-1]
    exact, theirs = np.array(prompt["exact"]), np.array(prompt["logits"])
    tolerance = 3 * np.abs(theirs - exact).max()
    assert np.abs(found[prompt["tokens"]] - exact).max() <= tolerance
    assert np.abs(found[prompt["tokens"]] - theirs).max() <= tolerance
    if exact[0] - exact[1] > 2 * tolerance:
        assert found.argmax() == prompt["tokens"][0]


def test_perplexity_is_that_of_llama_cpp(gemma3: Engine, recorded: Any) -> None:
    assert gemma3.tokenize(LONG_TEXT) == recorded["text"]["ids"]
    assert perplexity(gemma3, recorded["text"]["ids"]) == pytest.approx(recorded["text"]["perplexity"], rel=0.005)
