"""The least number of tokens that a text can have, told from its bytes, without encoding it.

A token of n bytes stands for n bytes of the text. So if every byte counts as one over the length of the longest token
that has this byte, the bytes of one token count as one at most, and the sum over the text is never above the number of
its tokens.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from oxillama._core.output.vocab import TokenFlag, TokenTable
from oxillama.vocab.families import Family
from oxillama.vocab.special_text import SpecialText

_SPACE = "\u2581".encode()
# Bytes that are counted at a time; each is an 8-byte number meanwhile.
_STRETCH = 1 << 20


class LengthBound:
    """Counts for one vocabulary.

    A byte that may vanish from the text counts nothing: all of them in families that normalise (WordPiece, Unigram),
    white space beside a special token that takes it along, and bytes that no token stands for alone, because what is
    unknown may be dropped or become one token, however long it is."""

    def __init__(self, family: Family, table: TokenTable, texts: Iterable[bytes], specials: list[SpecialText]) -> None:
        self._weights = np.zeros(256)
        if family.name not in ("BPE", "SPM", "RWKV"):
            return
        written = [table[token] for token in range(len(table))]
        if not family.byte_level:
            # The sign for a space also stands for itself, which is longer.
            written += [bytes(text) for text in texts if _SPACE in text]
        longest = longest_with(written + [special.text.encode() for special in specials])
        known = np.array([_stands_alone(table, bytes([byte])) for byte in range(256)])
        if not family.byte_level:
            by_byte = len({table[token] for token in table.flagged(TokenFlag.BYTE)}) == 256
            known = known & (np.arange(256) < 128) | by_byte
        if any(special.lstrip or special.rstrip for special in specials):
            known[list(b" \t\n\v\f\r")] = False
        known &= longest > 0
        self._weights[known] = 1 / longest[known]

    def least(self, text: str) -> int:
        """How many tokens the text has at least."""
        data = np.frombuffer(text.encode(), np.uint8)
        total = 0.0
        for begin in range(0, len(data), _STRETCH):
            total += float(np.bincount(data[begin : begin + _STRETCH], minlength=256) @ self._weights)
        # Less what rounding may have added to it.
        return int(total * (1 - 1e-9))


def _stands_alone(table: TokenTable, byte: bytes) -> bool:
    token = table.find(byte)
    return token is not None and not table.flags[token] & TokenFlag.HIDDEN


def longest_with(texts: list[bytes]) -> npt.NDArray[np.int64]:
    """int64 [256]: the length of the longest of the texts that have a byte, 0 where none has."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    longest = np.zeros(256, np.int64)
    np.maximum.at(longest, np.frombuffer(b"".join(texts), np.uint8), np.repeat(lengths, lengths))
    return longest
