"""Thinking split from answers: the same however the text comes in pieces, and never a part of a tag."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama.chat.reasoning import KNOWN_TAGS, ReasoningSplitter, ThinkTags, find_tags, opens_thinking

TAGS = KNOWN_TAGS[0]

fragments = st.sampled_from(["<think>", "</think>", "<", "</", "think>", "thi", " ", "\n", "a", "answer ", "\u00e9"])
texts = st.lists(fragments | st.text(max_size=3), max_size=12).map("".join)


def split(pieces: list[str], *, thinking: bool = False, tags: ThinkTags | None = TAGS) -> list[tuple[str, str]]:
    splitter = ReasoningSplitter(tags, thinking=thinking)
    return [*(splitter.push(piece) for piece in pieces), splitter.finish()]


def joined(parts: list[tuple[str, str]]) -> tuple[str, str]:
    return "".join(reasoning for reasoning, _ in parts), "".join(content for _, content in parts)


@pytest.mark.parametrize(
    ("text", "thinking", "expected"),
    [
        ("just an answer", False, ("", "just an answer")),
        ("  spaced answer ", False, ("", "  spaced answer ")),
        ("<think>\nhm\n</think>\n\nyes", False, ("hm", "yes")),
        (" \n<think>hm</think>yes </think> no", False, ("hm", "yes </think> no")),
        ("hm\n</think>\n\nyes", True, ("hm", "yes")),
        ("<think>\nhm\n</think>yes", True, ("hm", "yes")),
        ("a <think> b </think> c", False, ("", "a <think> b </think> c")),
        ("<think></think>yes", False, ("", "yes")),
        ("<think>never closed </thi", False, ("never closed </thi", "")),
        ("<thi", False, ("", "<thi")),
        ("", True, ("", "")),
        ("   ", False, ("", "   ")),
        ("<think>a b  c</think>  ", False, ("a b  c", "")),
        ("one < two </think>x", True, ("one < two", "x")),
    ],
)
def test_thinking_comes_first_or_not_at_all(text: str, thinking: bool, expected: tuple[str, str]) -> None:
    assert joined(split([text], thinking=thinking)) == expected
    assert joined(split(list(text), thinking=thinking)) == expected


@given(text=texts, thinking=st.booleans())
def test_every_cut_gives_the_same(text: str, thinking: bool) -> None:
    whole = joined(split([text], thinking=thinking))
    for cut in range(len(text) + 1):
        assert joined(split([text[:cut], text[cut:]], thinking=thinking)) == whole
    assert joined(split(list(text), thinking=thinking)) == whole


@given(text=texts, thinking=st.booleans(), data=st.data())
def test_what_was_handed_out_stands(text: str, thinking: bool, data: st.DataObject) -> None:
    # Whatever comes later, the parts of a beginning begin the parts of the whole: nothing is taken back.
    cut = data.draw(st.integers(0, len(text)))
    reasoning, content = joined(split(list(text[:cut]), thinking=thinking)[:-1])
    whole = joined(split([text], thinking=thinking))
    assert whole[0].startswith(reasoning)
    assert whole[1].startswith(content)


@given(thought=st.text("ab <>/think", max_size=20), answer=st.text(max_size=20))
def test_no_part_of_a_tag_is_seen(thought: str, answer: str) -> None:
    if TAGS.closing in thought or thought.lstrip().startswith(TAGS.opening):
        return
    parts = split(list(f"<think>{thought}</think>{answer}"))
    assert joined(parts) == (thought.strip(), answer.lstrip())


def test_without_tags_everything_is_content_at_once() -> None:
    assert split(["<th", "ink>"], tags=None) == [("", "<th"), ("", "ink>"), ("", "")]


def test_content_is_not_held_back() -> None:
    splitter = ReasoningSplitter(TAGS)
    assert splitter.push("<thi") == ("", "")
    assert splitter.push("s") == ("", "<this")
    assert splitter.push("<think>") == ("", "<think>")


def test_tags_are_found_in_the_template_or_in_the_vocabulary() -> None:
    assert find_tags("{{ content.split('</think>')[-1] }}", lambda _: False) == TAGS
    assert find_tags("[THINK]x[/THINK]", lambda _: False) == KNOWN_TAGS[1]
    assert find_tags("no thinking", lambda _: False) is None
    assert find_tags("no thinking", {"<think>", "</think>"}.__contains__) == TAGS
    assert find_tags("no thinking", {"<think>"}.__contains__) is None


def test_a_prompt_may_open_the_thinking() -> None:
    assert opens_thinking("...<|assistant|><think>\n", TAGS)
    assert not opens_thinking("...<|assistant|><think>\n\n</think>\n\n", TAGS)
