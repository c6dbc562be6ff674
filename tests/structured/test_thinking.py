"""Replies that think before they are what they must be."""

from __future__ import annotations

import pytest

from oxillama import Grammar
from oxillama.structured.thinking import after_thinking
from tests.structured.walks import accepts, problem

ANSWER = Grammar.json_schema({"type": "integer"})


def wrapped(grammar: Grammar, *, is_open: bool) -> Grammar:
    return after_thinking(grammar, "<think>", "</think>", is_open=is_open, control_id=lambda text: None)


@pytest.mark.parametrize(
    ("is_open", "right", "wrong"),
    [
        (True, ["hm, 7?\nno</think>\n\n8", "</think>8"], ["8", "hm</think>eight", "hm"]),
        (False, ["8", "<think>hm</think>\n8"], ["hm</think>8", "<think>8"]),
    ],
)
def test_what_comes_after_it_is_held(is_open: bool, right: list[str], wrong: list[str]) -> None:
    grammar = wrapped(ANSWER, is_open=is_open)
    assert [accepts(grammar, each) for each in right] == [True] * len(right)
    assert [accepts(grammar, each) for each in wrong] == [False] * len(wrong)
    assert grammar.decode("8") == 8


@pytest.mark.parametrize("is_open", [False, True])
def test_tags_that_are_tokens_are_tokens(is_open: bool) -> None:
    grammar = after_thinking(
        Grammar.regex("a/b"),
        "<|user|>",
        "<|end|>",
        is_open=is_open,
        control_id=lambda text: {"<|user|>": 7, "<|end|>": 8}[text],
    )
    assert not problem(grammar)
    assert "<[8]>" in grammar.text
    assert "<|end|>" not in grammar.text


def test_a_grammar_of_one_s_own_stays() -> None:
    assert wrapped(Grammar.lark("start: /a/"), is_open=True) == Grammar.lark("start: /a/")


@pytest.mark.parametrize(
    "grammar",
    [Grammar.choice(["yes", "no"]), Grammar.gbnf('root ::= start | content\nstart ::= "yes"\ncontent ::= "no"')],
)
def test_choices_and_gbnf_are_the_answer_and_not_the_thoughts(grammar: Grammar) -> None:
    held = wrapped(grammar, is_open=True)
    assert accepts(held, "hm, yes?\n</think>\nno")
    assert not accepts(held, "yes")
    assert not accepts(held, "hm</think>maybe")
