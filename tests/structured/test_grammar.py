"""Grammars as callers write them."""

from __future__ import annotations

import pytest

from oxillama import Grammar, GrammarError


def test_equal_grammars_are_one_and_a_repr_hides_the_text() -> None:
    one, other = Grammar.regex("[a-z]+"), Grammar.regex("[a-z]+")
    assert one == other
    assert hash(one) == hash(other)
    assert "a-z" not in repr(one)


def test_a_choice_needs_a_text() -> None:
    with pytest.raises(GrammarError, match="a list of texts"):
        Grammar.choice([])
