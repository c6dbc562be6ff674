"""Regular expressions: what is rewritten, what is refused, and that what is left means the same everywhere."""

from __future__ import annotations

import json
import re

import pytest

from oxillama import Grammar, GrammarError
from oxillama.structured.patterns import PatternError, search_pattern, whole_pattern
from tests.structured.walks import accepts, walk


@pytest.mark.parametrize(
    ("pattern", "right", "wrong"),
    [
        (r"^\d{3}-\d{4}$", ["555-1234"], ["٣55-1234", "555-123"]),
        (r"^[\w.-]+@\w+$", ["a.b-c@d"], ["é@d", "@"]),
        (r"^a.c$", ["abc", "aéc"], ["a\nc", "a\u2028c"]),
        (r"^\s\S$", [" x"], ["xx", " "]),
        (r"^[^\d\s]$", ["x"], ["1", " ", "\u00a0", "٣"]),
        (r"^\D\W$", ["x!"], ["1!", "xé"]),
        (r"^[a\-z&&~\[]+$", ["a-z&~["], ["b"]),
        (r"^(?:a|b)+?(?<name>c)$", ["abc"], ["ab"]),
        (r"^\u0041\x42\u{43}\/$", ["ABC/"], ["ABC"]),
        ("^\\ud83d\\ude00$", ["😀"], ["x"]),
        (r"^\p{Lu}$", ["A", "É"], ["a"]),
        (r"^x{2}{$", ["xx{"], ["xx"]),
        ("b", ["abc", "b"], ["ac"]),
        (r"^a$|^b$", ["a", "b"], ["ab"]),
        (r"^[\]a]$", ["]"], ["b"]),
    ],
)
def test_what_a_schema_s_pattern_accepts(pattern: str, right: list[str], wrong: list[str]) -> None:
    grammar = Grammar.json_schema({"type": "string", "pattern": pattern})
    assert [accepts(grammar, json.dumps(each, ensure_ascii=False)) for each in right] == [True] * len(right)
    assert [accepts(grammar, json.dumps(each, ensure_ascii=False)) for each in wrong] == [False] * len(wrong)


@pytest.mark.parametrize(
    ("pattern", "at", "message"),
    [
        ("(?=a)b", 0, "looks ahead or behind"),
        ("a(?<!b)", 1, "looks ahead or behind"),
        (r"(a)\1", 3, "refers to what a group has matched"),
        (r"\bfoo", 0, "the edge of a word"),
        ("(a", 2, "a group that is not closed"),
        ("a)", 1, "closes a group that is not open"),
        ("[a", 2, "a class that is not closed"),
        ("*a", 0, "repeats nothing"),
        ("a{2}{3}", 4, "repeats nothing"),
        ("a{3,2}", 1, "a repetition that cannot be"),
        ("[z-a]", 0, "a range that runs backwards"),
        ("[]", 0, "a class that begins with its end"),
        (r"\u12", 0, "without its 4 hexadecimal digits"),
        (r"\ud800", 0, "half of a character"),
        (r"\z", 0, "an escape that is not known"),
        (r"\07", 0, "an octal escape"),
        ("(?#x)", 0, "a group of a kind"),
        (r"\x00", 4, "a control character"),
        ("(a{1000}){1000}", 9, "too large"),
        ("(((a{30}){30}){30}){30}", 14, "too large"),
        ("(" * 200 + ")" * 200, 100, "groups inside one another"),
        ("a" * 30_000, 0, "has 30000 characters"),
    ],
)
def test_what_cannot_be_held_is_told_with_its_place(pattern: str, at: int, message: str) -> None:
    with pytest.raises(PatternError, match=message) as caught:
        search_pattern(pattern)
    assert caught.value.at == at


def test_a_whole_pattern_needs_no_anchors_and_takes_none_inside() -> None:
    assert whole_pattern("^a$|^b$") == "a|b"
    with pytest.raises(GrammarError, match=r"the pattern has \^ inside, .*, at character 2"):
        Grammar.regex("a^b")
    with pytest.raises(GrammarError, match="found a int"):
        Grammar.regex(5)  # type: ignore[arg-type]


def test_flags_are_known_at_the_beginning() -> None:
    grammar = Grammar.regex("(?is)yes.")
    assert accepts(grammar, "YES\n")
    with pytest.raises(GrammarError, match="changes its flags after its beginning"):
        Grammar.regex("a(?i)b")


@pytest.mark.parametrize("pattern", [r"[A-Z][a-z]{2,8} \d+", r"(?:\w+\.)+(?:com|org)", r"[^x]{1,5}", r"(?s).{3}"])
def test_replies_match_as_a_whole(pattern: str) -> None:
    for seed in range(5):
        reply = walk(Grammar.regex(pattern), seed)
        assert reply is None or re.fullmatch(pattern, reply)
