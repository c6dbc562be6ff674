"""Texts of control tokens in what callers write: broken wherever a template may put them, and whole again after."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from oxillama import InvalidRequestError
from oxillama.chat.control_texts import PRIVATE_USE, ControlTexts, Marks

# Few characters, so that tokens overlap, begin like others, and hold white space.
controls = st.lists(st.text("<|ab> ", min_size=1, max_size=5), min_size=1, max_size=4, unique=True)


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Control tokens, and texts that are full of their pieces."""
    tokens = draw(controls)
    pieces = st.sampled_from([token[i:j] for token in tokens for i in range(len(token)) for j in range(len(token) + 1)])
    texts = st.lists(pieces | st.text("<|ab> \n\ue000", max_size=3), max_size=6).map("".join)
    return tokens, draw(st.lists(texts, min_size=1, max_size=4))


def prepared(tokens: list[str], texts: list[str]) -> tuple[ControlTexts, Marks]:
    guard = ControlTexts(tokens)
    return guard, guard.marks(texts)


def tokens_in(text: str, tokens: list[str]) -> list[tuple[int, int]]:
    """Where tokens begin and end."""
    return [(i, i + len(token)) for token in tokens for i in range(len(text)) if text.startswith(token, i)]


@given(vocabularies(), st.booleans())
def test_no_token_is_left_and_nothing_is_lost(case: tuple[list[str], list[str]], alone: bool) -> None:
    tokens, texts = case
    guard, marks = prepared(tokens, texts)
    for text in texts:
        broken = guard.broken(text, marks, alone=alone)
        assert tokens_in(broken, tokens) == []
        assert marks.remove(broken) == text


@given(vocabularies(), st.data())
def test_trimmed_split_and_put_side_by_side_there_is_still_none(
    case: tuple[list[str], list[str]], data: st.DataObject
) -> None:
    tokens, texts = case
    guard, marks = prepared(tokens, texts)
    joined = ""
    for text in texts:
        broken = guard.broken(text, marks)
        joined += data.draw(st.sampled_from([broken, broken.strip(), *broken.split()]))
    assert tokens_in(joined, tokens) == []


@pytest.mark.parametrize("space", [" ", "\n\t", "\u00a0", "\u2028"])
def test_words_that_are_split_off_make_none(space: str) -> None:
    token = "<|ab|>"
    guard, marks = prepared([token], [])
    for cut in range(1, len(token)):
        first = guard.broken(f"{token[:cut]}{space}word", marks).split()[0]
        last = guard.broken(f"word{space}{token[cut:]}", marks).split()[-1]
        for written in (first + last, first + token[cut:], token[:cut] + last):
            assert token not in written


@st.composite
def completions(draw: st.DrawFn) -> tuple[list[str], str, str, str]:
    """Tokens, what the template writes before and after a text, and the text."""
    tokens, texts = draw(vocabularies())
    token = draw(st.sampled_from(tokens))
    cut = draw(st.integers(0, len(token)))
    end = draw(st.integers(cut, len(token)))
    return tokens, token[:cut], draw(st.sampled_from([token[cut:end], *texts])), token[end:]


@given(completions())
@example((["<< <", "<"], "<<", " ", "<"))  # white space alone has no inside to break
@example((["<a  b>"], "<a", "  ", "b>"))
def test_the_template_cannot_complete_one(case: tuple[list[str], str, str, str]) -> None:
    tokens, head, text, tail = case
    guard, marks = prepared(tokens, [text])
    said = guard.broken(text, marks, alone=True)
    assert marks.remove(said) == text
    for inner in (said, said.strip()):
        assume(inner)
        written = head + inner + tail
        ends = len(head), len(head) + len(inner)
        # Only what the template alone has written.
        assert all(end <= ends[0] or begin >= ends[1] for begin, end in tokens_in(written, tokens))


@pytest.mark.parametrize("text", ["b", "x<a", "a>", "<>", "<b a>", " a|b "])
def test_a_piece_within_a_word_needs_no_mark(text: str) -> None:
    guard, marks = prepared(["<|ab|>"], [text])
    words = f"words{text}words"
    assert guard.broken(words, marks, alone=True) == words


def test_a_vocabulary_without_control_tokens_marks_nothing() -> None:
    guard, marks = prepared([], ["<|a|>"])
    assert guard.broken("<|a|>", marks, alone=True) == "<|a|>"
    assert marks.remove("<|a|>") == "<|a|>"


# Characters for marks


@given(st.text(st.characters(min_codepoint=0xE000, max_codepoint=0xE008), max_size=9), st.sets(st.integers(0, 8)))
def test_marks_occur_nowhere(text: str, escaped: set[int]) -> None:
    tokens = ["\ue003", "<\ue004>", "a"]
    texts = [text, *(f"\\u{0xE000 + number:x}" for number in escaped)]
    _, marks = prepared(tokens, texts)
    chosen = [marks.sentinel, marks.end, *marks.stand_ins.values()]
    assert marks.stand_ins.keys() == {"\ue003", "a"}
    assert len(set(chosen)) == len(chosen)
    for mark in chosen:
        assert any(ord(mark) in plane for plane in PRIVATE_USE)
        for written in (*texts, *tokens):
            assert mark not in written
            assert json.dumps(mark)[1:-1] not in written
            assert repr(mark)[1:-1] not in written


def test_other_planes_serve_where_the_first_is_used_up() -> None:
    first = "".join(map(chr, PRIVATE_USE[0]))
    _, marks = prepared(["<a>"], [first[:-1]])
    assert (ord(marks.sentinel), ord(marks.end)) == (0xF8FF, 0xF0000)


def test_a_conversation_may_leave_no_character_for_marks() -> None:
    used = ["".join(map(chr, plane)) for plane in PRIVATE_USE]
    guard = ControlTexts(["<a>"])
    guard.marks([*used[:2], used[2][2:]])
    with pytest.raises(InvalidRequestError, match="private") as error:
        guard.marks([*used[:2], used[2][1:]])
    assert error.value.param == "messages"


@pytest.mark.parametrize("plane", PRIVATE_USE, ids=str)
def test_marks_that_were_written_as_escapes_come_back(plane: range) -> None:
    marks = Marks(chr(plane[0]), chr(plane[1]), {"a": chr(plane[2])})
    text = f"x{marks.sentinel}y{marks.end}z{marks.stand_ins['a']}"
    for written in (json.dumps(text)[1:-1], repr(text)[1:-1], text):
        assert marks.restore(written) == text
    other = json.dumps(chr(plane[3]))
    assert marks.restore(other) == other
    assert marks.remove(text) == "xyza"
