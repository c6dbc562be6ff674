"""The protobuf writer, byte for byte where the format is small enough to write by hand."""

from __future__ import annotations

import pytest

from oxillama.vocab.sentencepiece_model import bytes_field, encode_varint, number_field, piece_message


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\x01"), (150, b"\x96\x01"), (2**32, b"\x80\x80\x80\x80\x10")],
)
def test_varints(value: int, encoded: bytes) -> None:
    assert encode_varint(value) == encoded


def test_fields() -> None:
    assert number_field(1, 150) == b"\x08\x96\x01"
    assert number_field(41, -1) == b"\xc8\x02" + b"\xff" * 9 + b"\x01"
    assert bytes_field(2, b"testing") == b"\x12\x07testing"
    assert piece_message(b"ab", -1.5, 6) == b"\x0a\x02ab\x15\x00\x00\xc0\xbf\x18\x06"
