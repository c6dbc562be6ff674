"""Lark: texts as literals, and grammars that are too much for the engine's stack."""

from __future__ import annotations

import pytest

from oxillama import Grammar, GrammarError
from tests.structured.walks import accepts, problem


@pytest.mark.parametrize(
    "text", ["plain", 'quo"te', "back\\slash", "li\nne\ttab\r", "é😀", "\u200b\x01\x85", "\U00018cd6\u2028"]
)
def test_a_choice_is_its_text(text: str) -> None:
    grammar = Grammar.choice([text, "another"])
    assert accepts(grammar, text)
    assert not accepts(grammar, text + "!")


def test_special_tokens_and_schemas_may_stand_in_it() -> None:
    schema = Grammar.json_schema({"type": "integer"}).text
    assert not problem(Grammar.lark(f"start: <|user|> body\nbody: %json {schema}"))
    assert "unknown special token" in problem(Grammar.lark("start: <|nobody|>"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n".join(["start: a0", *(f'a{n}: a{n + 1} "x"' for n in range(3000))]), "rules inside one another"),
        ("\n".join(["start: A0", *(f'A{n}: "x" (A{n + 1} | "y")*' for n in range(3000))]), "rules inside one another"),
        ("\n".join(["start: a", *(f'a{n}: "x"' for n in range(6000))]), "at most 5000"),
        ("x" * (1 << 21), "at most 1048576"),
    ],
)
def test_what_is_too_much_is_refused(text: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message):
        Grammar.lark(text)


@pytest.mark.parametrize("choices", [[], [""], [1], ["x" * (1 << 21)], [str(one) for one in range(20_000)]])
def test_choices_are_texts_and_bounded(choices: list[str]) -> None:
    with pytest.raises(GrammarError, match="a choice"):
        Grammar.choice(choices)


def test_half_a_character_is_refused() -> None:
    with pytest.raises(GrammarError, match="half of a character"):
        Grammar.choice(["\ud800"])


@pytest.mark.parametrize("text", ["", "   ", "not a rule", "::"])
def test_a_text_without_rules_is_the_compiler_s_to_refuse(text: str) -> None:
    assert problem(Grammar.lark(text))


@pytest.mark.parametrize(("head", "piece"), [("", "a"), ('start: "', '\\"'), ("start: /", "\\/"), ("start: ", "<")])
def test_a_text_without_its_end_is_read_once(head: str, piece: str) -> None:
    """A second at most; with the square of the length it would be hours."""
    assert problem(Grammar.lark(head + piece * 200_000))
