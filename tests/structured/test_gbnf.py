"""llama.cpp's notation: what is read, and where the errors point."""

from __future__ import annotations

import pytest

from oxillama import Grammar, GrammarError
from oxillama.structured.gbnf import CharacterClass, Literal, Repetition, parse_gbnf


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (r'"\x41\u00e9\U0001F600"', "Aé😀"),
        (r'"\t\r\n\\\"\[\]"', '\t\r\n\\"[]'),
        ('"plain # no comment"', "plain # no comment"),
        ('""', ""),
    ],
)
def test_texts_and_their_escapes(body: str, text: str) -> None:
    assert parse_gbnf(f"root ::= {body}").rules["root"] == Literal(text)


@pytest.mark.parametrize(
    ("body", "ranges", "negated"),
    [
        ("[a-z_]", ((97, 122), (95, 95)), False),
        (r"[^\]\\-]", ((93, 93), (92, 92), (45, 45)), True),
        (r"[\x41-\x43\u0430-\u044f]", ((65, 67), (0x430, 0x44F)), False),
        (".", (), True),
    ],
)
def test_classes_of_characters(body: str, ranges: tuple[tuple[int, int], ...], negated: bool) -> None:
    assert parse_gbnf(f"root ::= {body}").rules["root"] == CharacterClass(ranges, negated)


@pytest.mark.parametrize(
    ("bounds", "least", "most"),
    [("*", 0, None), ("+", 1, None), ("?", 0, 1), ("{3}", 3, 3), ("{2,}", 2, None), ("{ 2 , 5 }", 2, 5)],
)
def test_bounds_of_repetitions(bounds: str, least: int, most: int | None) -> None:
    node = parse_gbnf(f'root ::= "a"{bounds}').rules["root"]
    assert isinstance(node, Repetition)
    assert (node.least, node.most) == (least, most)


def test_comments_may_stand_anywhere_and_rules_may_go_on() -> None:
    grammar = parse_gbnf(
        """# a grammar
root ::= # of two parts
  first second # after the text of a rule
first ::= ( "a" # in a group
  | "b" )
second ::= "c"
  | "d" # in the next line
"""
    )
    assert list(grammar.rules) == ["root", "first", "second"]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ('root = "a"', 1, 6, "expected ::= after root"),
        ('root ::= "a"\nother ::= [a', 2, 11, "a class that is not closed"),
        ('root ::= "a\n"', 1, 10, "a text that is not closed"),
        ('root ::=\n  ("a"', 2, 3, "a group that is not closed"),
        ('root ::= "a" b', 1, 14, "there is no rule b"),
        ('a ::= "x"', 1, 1, "there is no rule `root`"),
        ('root ::= "a"\nroot ::= "b"', 2, 1, "root is defined twice"),
        (r'root ::= "ab\q"', 1, 13, "an escape that is not known"),
        (r'root ::= "\x4"', 1, 11, r"\\x needs 2 hexadecimal digits"),
        (r'root ::= "\ud800"', 1, 11, "an escape that is no character"),
        ('root ::= "a"{2', 1, 13, "expected bounds"),
        ('root ::= "a"{3,2}', 1, 13, "a repetition of at least 3 and at most 2"),
        ("root ::= [z-a]", 1, 10, "a range that runs backwards"),
        ("root ::= []", 1, 10, "a class without characters"),
        ("root ::= <[x]>", 1, 10, "expected a token"),
        ('root ::= "a" ]', 1, 14, "expected the end of the line"),
        ("root ::= " + "(" * 100, 1, 70, "groups inside one another"),
    ],
)
def test_errors_tell_line_and_column(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(GrammarError, match=f"^line {line}, column {column}: {message}") as caught:
        parse_gbnf(text)
    assert caught.value.param == "grammar"


def test_what_is_no_text_or_too_much_of_it_is_refused() -> None:
    with pytest.raises(GrammarError, match="found a bytes"):
        parse_gbnf(b'root ::= "a"')  # type: ignore[arg-type]
    with pytest.raises(GrammarError, match="at most 1048576"):
        parse_gbnf("#" * (1 << 21))


def test_stacked_repetitions_are_bounded() -> None:
    with pytest.raises(GrammarError, match="line 1, column"):
        Grammar.gbnf('root ::= "a"' + "?" * 5000)
    assert Grammar.gbnf('root ::= "a"' + "?" * 10)


@pytest.mark.parametrize("text", ['root ::= "a"{1,' + " " * 200_000, 'root ::= "a"{1' + " " * 200_000 + "x"])
def test_bounds_without_an_end_take_time_in_proportion(text: str) -> None:
    """A second at most; with the square of the length it would be minutes."""
    with pytest.raises(GrammarError):
        Grammar.gbnf(text)
