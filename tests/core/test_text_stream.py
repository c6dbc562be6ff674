"""TextStream against a plain Python reference, over every way to cut a text into tokens."""

from __future__ import annotations

import gc
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oxillama._core.output.text_stream import TextStream
from oxillama._core.output.thinking import ThinkingMarks
from oxillama._core.output.vocab import TokenTable
from oxillama.errors import InvalidRequestError

CONTROL_TOKEN = 256
BYTE_TABLE = TokenTable([bytes([i]) for i in range(256)] + [b"<|end|>"], [4] * 256 + [3], byte_level=False)

# Few letters make stop strings that overlap the text and each other.
few_letters = st.text("ab", max_size=20) | st.text("abé€😀", max_size=30)
stop_strings = st.lists(st.text("ab", min_size=1, max_size=5) | st.text("abé€😀�", min_size=1, max_size=5), max_size=4)
# Pieces of characters, stray continuation bytes, surrogates, overlong forms: whatever a byte-level model may write.
broken_utf8 = st.lists(
    st.sampled_from(
        [b"a", b"b", b"\xc3", b"\xa9", b"\xe2\x82", b"\xac", b"\xf0\x9f", b"\x98\x80", b"\xed\xa0\x80", b"\xc0"]
    )
    | st.binary(min_size=1, max_size=3),
    max_size=12,
).map(b"".join)


def reference(raw: bytes, stops: list[str]) -> tuple[str, str | None]:
    """The text and the stop string that ended it: leftmost, of these the shortest."""
    text = raw.decode("utf-8", "replace")
    found = [(text.find(stop), len(stop.encode()), stop) for stop in stops if stop in text]
    if not found:
        return text, None
    start, _, stop = min(found)
    return text[:start], stop


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(raw), *(place % (len(raw) + 1) for place in places)})
    return [raw[a:b] for a, b in pairwise(edges)]


def stream_of(pieces: list[bytes], stops: list[str]) -> tuple[TextStream, list[int]]:
    table = TokenTable(pieces, [4] * len(pieces), byte_level=False)
    return TextStream(table, stops), list(range(len(pieces)))


@given(few_letters.map(str.encode) | broken_utf8, stop_strings, st.lists(st.integers(0, 200), max_size=8))
@example(b"xabcd", ["bc", "abcd"], [])
@example(b"xabcx", ["bc", "abcd"], [])
@example("é".encode()[:1], ["�"], [])
@example(b"aaab", ["aab"], [1, 2])
@example(b"abababc", ["ababc"], [])
def test_any_cut_gives_the_reference_text(raw: bytes, stops: list[str], places: list[int]) -> None:
    stream, tokens = stream_of(cut(raw, places), stops)
    released = []
    for token in tokens:
        released.append(stream.push(token))
        assert len(released[-1].encode()) <= stream.capacity
    released.append(stream.finish())
    assert ("".join(released), stream.stop) == reference(raw, stops)
    assert stream.stopped == (stream.stop is not None)
    assert stream.num_held == 0


@given(few_letters.map(str.encode) | broken_utf8, stop_strings)
def test_every_prefix_of_the_output_is_final(raw: bytes, stops: list[str]) -> None:
    """What is out after n bytes is a prefix of the answer whatever follows, and all of it that can be certain."""
    stream = TextStream(BYTE_TABLE, stops)
    released = ""
    for count, byte in enumerate(raw, start=1):
        released += stream.push(byte)
        if stream.stopped:
            assert released == reference(raw, stops)[0]
            break
        complete = raw[:count].decode("utf-8", "replace")
        assert complete.startswith(released)
        held = complete.rstrip("�")[len(released) :] if complete.endswith("�") else complete[len(released) :]
        assert len(held.encode()) < max((len(stop.encode()) for stop in stops), default=1) + 1


@given(few_letters)
def test_without_stop_strings_nothing_whole_is_held(text: str) -> None:
    stream = TextStream(BYTE_TABLE)
    for char in text:
        pieces = [stream.push(byte) for byte in char.encode()]
        assert pieces == [""] * (len(pieces) - 1) + [char]


@given(few_letters.map(str.encode) | broken_utf8, stop_strings)
def test_reset_forgets_everything(raw: bytes, stops: list[str]) -> None:
    stream = TextStream(BYTE_TABLE, stops)
    outputs = []
    for _ in range(2):
        outputs.append("".join(map(stream.push, raw)) + stream.finish())
        stream.reset()
        assert not stream.stopped
        assert stream.stop is None
    assert outputs[0] == outputs[1]


def test_control_tokens_and_foreign_ids_write_nothing() -> None:
    stream = TextStream(BYTE_TABLE, ["ab"])
    ids = [ord("x"), CONTROL_TOKEN, ord("a"), CONTROL_TOKEN, -1, 257, 2**31 - 1, ord("b"), ord("z")]
    assert "".join(map(stream.push, ids)) + stream.finish() == "x"
    assert stream.stop == "ab"
    shown = TextStream(BYTE_TABLE, skip=0)
    assert shown.push(CONTROL_TOKEN) == "<|end|>"


def test_text_is_held_back_only_while_it_may_become_a_stop_string() -> None:
    stream = TextStream(BYTE_TABLE, ["</s>"])
    assert [stream.push(byte) for byte in b"a</b</s"] == ["a", "", "", "</b", "", "", ""]
    assert stream.num_held == 3
    assert stream.finish() == "</s"


def test_an_earlier_candidate_is_awaited_before_a_later_stop_string_settles() -> None:
    stream = TextStream(BYTE_TABLE, ["bc", "abcd"])
    assert "".join(map(stream.push, b"xabc")) == "x"
    assert not stream.stopped
    assert stream.push(ord("d")) == ""
    assert stream.stop == "abcd"
    stream.reset()
    assert "".join(map(stream.push, b"xabc!")) == "xa"
    assert stream.stop == "bc"


def test_a_stop_string_may_be_left_open_at_the_end() -> None:
    stream = TextStream(BYTE_TABLE, ["bc", "abcd"])
    assert "".join(map(stream.push, b"xabc")) + stream.finish() == "xa"
    assert stream.stop == "bc"


@pytest.mark.parametrize("stops", ["abc", [""], ["a", ""], [b"a"], ["\ud800"], [None]])
def test_bad_stop_strings_are_refused(stops: object) -> None:
    with pytest.raises(InvalidRequestError) as error:
        TextStream(BYTE_TABLE, stops)  # type: ignore[arg-type]
    assert error.value.param == "stop"


def test_an_object_that_exists_is_whole() -> None:
    with pytest.raises(TypeError):
        TextStream.__new__(TextStream)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        TokenTable.__new__(TokenTable)  # type: ignore[call-arg]


def test_the_stream_keeps_its_table_alive() -> None:
    stream, tokens = stream_of([b"hello", b" ", b"world"], ["w"])
    gc.collect()
    assert "".join(map(stream.push, tokens)) == "hello "


def thinking_of(opening: str, closing: str) -> ThinkingMarks:
    symbols = list(closing.encode())
    return ThinkingMarks(list(opening.encode()), symbols, symbols)


def reference_behind_thinking(text: str, stops: list[str], opening: str, closing: str, *, is_open: bool) -> str:
    """Stop strings count before thinking and behind it."""
    head = "" if is_open else text[: len(text) - len(text.lstrip(" \n"))]
    if not is_open and not text[len(head) :].startswith(opening):
        return reference(text.encode(), stops)[0]
    before, stopped = reference(head.encode(), stops)
    if stopped is not None:
        return before
    inner, found, rest = text[len(head) + (0 if is_open else len(opening)) :].partition(closing)
    thought = head + ("" if is_open else opening) + inner + found
    return thought + reference(rest.encode(), stops)[0]


@given(
    st.lists(st.sampled_from(["<t>", "</t>", "<", "</", "t", ">", "a", "b", " ", "\n", "é"]), max_size=14).map("".join),
    st.lists(st.sampled_from(["<", "<t>", "</t>", ">a", "a", "ab", "\n", "\n<", " \n", "t>b", "é"]), max_size=3),
    st.lists(st.integers(0, 200), max_size=8),
    st.booleans(),
)
@example(" <t>aab</t>aab", ["ab"], [], False)
@example("<b", ["<"], [1], False)
@example("\n<t>x</t>\n<t>", ["\n<"], [1], False)
@example("a</t>a", ["a"], [], True)
@example("<", ["<"], [], False)
def test_stop_strings_do_not_count_in_thinking(text: str, stops: list[str], places: list[int], is_open: bool) -> None:
    pieces = cut(text.encode(), places)
    table = TokenTable(pieces, [4] * len(pieces), byte_level=False)
    stream = TextStream(table, stops, thinking=thinking_of("<t>", "</t>"), is_open=is_open)
    for _ in range(2):
        released = [stream.push(token) for token in range(len(pieces))]
        said = "".join(released) + stream.finish()
        assert said == reference_behind_thinking(text, stops, "<t>", "</t>", is_open=is_open)
        stream.reset()


def test_control_tokens_mark_thinking_that_their_text_does_not() -> None:
    pieces = [b"[T]", b"[/T]", b"x", b"[/T]", b" "]
    table = TokenTable(pieces, [3, 3, 1, 4, 1], byte_level=False)
    stream = TextStream(table, ["x"], thinking=ThinkingMarks([256], [257], [1]))
    assert "".join(map(stream.push, [4, 0, 2, 3, 2, 1, 4, 2, 2])) == " x[/T]x "
    assert stream.stop == "x"
    with pytest.raises(ValueError, match="closers"):
        ThinkingMarks([256], [257], [])
