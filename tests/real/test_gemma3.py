"""Gemma 3 270M, which continues texts. Skipped as long as the engine says that it cannot run it."""

from __future__ import annotations

import pytest

from oxillama import Engine
from tests.real.prose import check_company, check_perplexity

pytestmark = pytest.mark.real


def test_it_continues_a_text(gemma3: Engine) -> None:
    assert "Paris" in gemma3.generate("The capital of France is", max_tokens=8, temperature=0).text


def test_company_changes_nothing(gemma3: Engine) -> None:
    check_company(gemma3)


def test_it_expects_english(gemma3: Engine) -> None:
    check_perplexity(gemma3, most=15)
