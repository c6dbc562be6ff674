"""Gemma 3 270M, which continues texts. Skipped as long as the engine says that it cannot run it."""

from __future__ import annotations

import pytest

from oxillama import Engine
from tests.real.prose import check_company, check_perplexity

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
