"""Cutting texts at special tokens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oxillama.vocab.partition import Partition
from oxillama.vocab.special_text import SpecialText

token_texts = st.lists(st.text("<a>| ", min_size=1, max_size=4), max_size=6, unique=True)


@given(token_texts, st.text("<a>| \n", max_size=30), st.booleans())
def test_the_pieces_are_the_text_and_hold_no_more_tokens(texts: list[str], text: str, parse_special: bool) -> None:
    tokens = [SpecialText(special, id_, always=id_ % 2 == 0) for id_, special in enumerate(texts)]
    pieces = Partition(tokens).split(text, parse_special=parse_special)
    assert "".join(texts[piece] if isinstance(piece, int) else piece for piece in pieces) == text
    active = [token for token in tokens if parse_special or token.always]
    for piece in pieces:
        if isinstance(piece, int):
            assert piece in [token.id for token in active]
        else:
            assert piece
            assert not any(token.text in piece for token in active)


def test_the_longer_token_wins_wherever_it_stands() -> None:
    partition = Partition([SpecialText("<a>", 0, always=True), SpecialText(">bcd", 1, always=True)])
    assert partition.split("x<a>bcd", parse_special=False) == ["x<a", 1]
    assert partition.split("x<a>bc", parse_special=False) == ["x", 0, "bc"]


def test_tokens_take_white_space_with_them() -> None:
    partition = Partition(
        [SpecialText("<l>", 0, always=True, lstrip=True), SpecialText("<r>", 1, always=True, rstrip=True)]
    )
    assert partition.split("a \n<l> b<r>\t c<r> ", parse_special=False) == ["a", 0, " b", 1, "c", 1]
    assert partition.split(" <l>\u00a0<r>\u00a0", parse_special=False) == [0, "\u00a0", 1, "\u00a0"]
    assert partition.split("<r><r> <l><r>  ", parse_special=False) == [1, 1, 0, 1]


def test_a_text_without_tokens_is_one_piece() -> None:
    partition = Partition([SpecialText("<a>", 0, always=False)])
    assert partition.split("", parse_special=True) == []
    assert partition.split("x<a>", parse_special=False) == ["x<a>"]
