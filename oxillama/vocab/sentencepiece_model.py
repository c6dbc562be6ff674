"""Writes SentencePiece's model file: the part of its protobuf schema that an encoder needs, no more.

Schema: sentencepiece_model.proto of google/sentencepiece. Wire format: Protocol Buffers, "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

VARINT, LENGTH_DELIMITED, FIXED32 = 0, 2, 5

# Piece types; GGUF uses the same numbers.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
UNIGRAM, BPE = 1, 2


@dataclass(frozen=True)
class ModelSettings:
    """``unk_id`` is the piece of type UNKNOWN. ``charsmap`` is a compiled normalisation, empty for none."""

    algorithm: int
    unk_id: int
    byte_fallback: bool
    charsmap: bytes = b""
    dummy_prefix: bool = False
    remove_extra_spaces: bool = False


def encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(number: int, value: int) -> bytes:
    # Negative int32 values are written as 64-bit two's complement.
    return encode_varint(number << 3 | VARINT) + encode_varint(value & 0xFFFFFFFFFFFFFFFF)


def bytes_field(number: int, value: bytes) -> bytes:
    return encode_varint(number << 3 | LENGTH_DELIMITED) + encode_varint(len(value)) + value


def piece_message(text: bytes, score: float, kind: int) -> bytes:
    return bytes_field(1, text) + encode_varint(2 << 3 | FIXED32) + struct.pack("<f", score) + number_field(3, kind)


def write_model(pieces: Iterable[tuple[bytes, float, int]], settings: ModelSettings) -> bytes:
    """A ModelProto of (text, score, type) pieces, in id order."""
    trainer = (
        number_field(3, settings.algorithm)
        + number_field(35, settings.byte_fallback)
        + number_field(40, settings.unk_id)
        + number_field(41, -1)
        + number_field(42, -1)
        + number_field(43, -1)
    )
    normalizer = (
        bytes_field(1, b"oxillama")
        + bytes_field(2, settings.charsmap)
        + number_field(3, settings.dummy_prefix)
        + number_field(4, settings.remove_extra_spaces)
        + number_field(5, True)
    )
    parts = [bytes_field(1, piece_message(*piece)) for piece in pieces]
    return b"".join(parts) + bytes_field(2, trainer) + bytes_field(3, normalizer)
