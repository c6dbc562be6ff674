"""TokenTable: bytes of tokens, and back."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama._core.output.vocab import TokenFlag, TokenTable
from oxillama.errors import ModelLoadError

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def byte_alphabet() -> dict[int, str]:
    """Byte -> character, spelt as in GPT-2's published encoder."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(others)}


@given(st.lists(st.binary(max_size=8), max_size=30, unique=True))
def test_byte_level_texts_decode_to_their_bytes(pieces: list[bytes]) -> None:
    alphabet = byte_alphabet()
    table = TokenTable(["".join(alphabet[byte] for byte in piece).encode() for piece in pieces], byte_level=True)
    assert [table[i] for i in range(len(table))] == pieces
    assert [table.find(piece) for piece in pieces if piece] == [i for i, piece in enumerate(pieces) if piece]
    assert table.blob == b"".join(pieces)
    assert list(table.offsets) == [len(b"".join(pieces[:i])) for i in range(len(pieces) + 1)]
    assert table.longest == max(map(len, pieces), default=0)


@given(st.lists(st.text("a▁é ", max_size=6), max_size=20))
def test_escaped_texts_decode_to_spaces(texts: list[str]) -> None:
    table = TokenTable([text.encode() for text in texts], byte_level=False)
    assert [table[i].decode() for i in range(len(table))] == [text.replace("▁", " ") for text in texts]


def test_types_decide_how_a_text_is_read() -> None:
    texts = ["▁a", "▁u", "▁c", "▁d", "▁e", "<0x0a>", "<0xFF>"]
    kinds = [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE, BYTE]
    table = TokenTable([text.encode() for text in texts], array("i", kinds), byte_level=False)
    assert [table[i] for i in range(7)] == [b" a", "▁u".encode(), "▁c".encode(), "▁d".encode(), b"", b"\n", b"\xff"]
    assert table.flagged(TokenFlag.HIDDEN) == [1, 2]
    assert list(table.flags) == [1, 2, 4, 8, 16, 32, 32]
    assert table.join([0, 2, 5], skip=TokenFlag.HIDDEN) == b" a\n"
    assert table.join([0, 2, 5]) == " a▁c\n".encode()


def test_a_byte_level_text_outside_the_alphabet_stands_for_itself() -> None:
    table = TokenTable(["<\uff5cend\uff5c>".encode(), b"a b", "ĠŃń".encode(), b"\xc4"], byte_level=True)
    assert [table[i] for i in range(4)] == ["<\uff5cend\uff5c>".encode(), b"a b", b" \xad" + "ń".encode(), b"\xc4"]


def test_find_prefers_text_then_bytes_then_control() -> None:
    table = TokenTable([b"a", b"<0x61>", b"a", b"a"], [CONTROL, BYTE, NORMAL, NORMAL], byte_level=False)
    assert table.find(b"a") == 2
    table.set_flag(2, TokenFlag.CONTROL)
    table.set_flag(3, TokenFlag.CONTROL)
    assert table.find(b"a") == 1
    assert table.find(b"b") is None
    assert table.find(b"") is None
    assert table.find(b"a" * 1000) is None


def test_an_empty_vocabulary_finds_nothing() -> None:
    table = TokenTable([], byte_level=True)
    assert len(table) == 0
    assert table.find(b"a") is None
    assert list(table.offsets) == [0]


@pytest.mark.parametrize("token", [-1, 2, 2**40])
def test_ids_outside_the_vocabulary_are_refused(token: int) -> None:
    table = TokenTable([b"a", b"b"], byte_level=False)
    with pytest.raises(IndexError, match="outside the vocabulary of 2 tokens"):
        table[token]
    with pytest.raises(IndexError):
        table.join([0, token])


def test_inconsistent_vocabularies_are_refused() -> None:
    with pytest.raises(ModelLoadError, match=r"token_type has 1 entries.*tokens has 2"):
        TokenTable([b"a", b"b"], [1], byte_level=False)
    for text in (b"<0xG0>", b"<0x0>", b"a", b""):
        with pytest.raises(ModelLoadError, match="token 1 is of type byte"):
            TokenTable([b"a", text], [NORMAL, BYTE], byte_level=False)
    with pytest.raises(ModelLoadError, match="longest token"):
        TokenTable([b"a" * (2**20 + 1)], byte_level=False)


def test_the_flags_cannot_be_written_or_resized_from_outside() -> None:
    table = TokenTable([b"a"], byte_level=False)
    with pytest.raises(TypeError):
        table.flags[0] = 4
