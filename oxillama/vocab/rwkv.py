"""RWKV's vocabularies: text between special tokens becomes ids by the longest token that fits, byte by byte.

Files spell token texts as Python does bytes (``\\xNN``, ``\\n``); here they are spelt in GPT-2's byte alphabet."""

from __future__ import annotations

import re
from collections.abc import Iterable

from oxillama._core.output.vocab import TokenFlag, TokenTable
from oxillama.errors import ModelLoadError

_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
# Bytes of the printable parts of Latin-1 are spelt as themselves, the others as U+0100 and up.
_PLAIN = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
_OTHERS = [byte for byte in range(256) if byte not in _PLAIN]
_ALPHABET = {byte: chr(byte) for byte in _PLAIN} | {byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}


def respell(texts: Iterable[bytes]) -> list[bytes]:
    """The texts of a file in GPT-2's byte alphabet."""
    return [_unescape(bytes(text)).decode("latin-1").translate(_ALPHABET).encode() for text in texts]


def _unescape(text: bytes) -> bytes:
    return _ESCAPE.sub(_plain, text) if b"\\" in text else text


def _plain(match: re.Match[bytes]) -> bytes:
    if match[1] is not None:
        return bytes([int(match[1], 16)])
    return _ESCAPED.get(match[2], match[2])


class LongestMatchEncoder:
    """Encodes text by the longest token that fits at each place. Control tokens are none of them; of tokens that
    write the same the last counts, as in llama.cpp."""

    windows: tuple[str, ...] = ()

    def __init__(self, table: TokenTable, unk: int | None) -> None:
        hidden = TokenFlag.HIDDEN
        self._unk = unk
        self._tokens: dict[bytes, int] = {}
        for token, flags in enumerate(table.flags):
            if not flags & hidden and table[token]:
                self._tokens[table[token]] = token
        missing = next((byte for byte in range(256) if bytes([byte]) not in self._tokens), None)
        if missing is not None and unk is None:
            raise ModelLoadError(
                f"tokenizer.ggml.tokens: expected a token of each byte, or tokenizer.ggml.unknown_token_id; byte "
                f"0x{missing:02x} has none"
            )
        # The lengths of the tokens that begin with the same two bytes, the longest first.
        lengths: dict[bytes, set[int]] = {}
        for text in self._tokens:
            lengths.setdefault(text[:2], set()).add(len(text))
        self._lengths = {start: sorted(found, reverse=True) for start, found in lengths.items()}

    def encode(self, text: str, *, after_special: bool) -> list[int]:
        """``after_special`` changes nothing for this family."""
        del after_special
        data, ids, place = text.encode(), [], 0
        while place < len(data):
            token, length = self._longest(data, place)
            ids.append(token)
            place += length
        return ids

    def _longest(self, data: bytes, place: int) -> tuple[int, int]:
        for length in self._lengths.get(data[place : place + 2], ()):
            token = self._tokens.get(data[place : place + length])
            if token is not None and place + length <= len(data):
                return token, length
        token = self._tokens.get(data[place : place + 1], self._unk)
        # Without an unknown token every byte has its own.
        return (0 if token is None else token), 1
