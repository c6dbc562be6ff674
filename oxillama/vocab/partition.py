"""Cuts a text at the special tokens written in it. What the text between them becomes is not its business.

Longer tokens are looked for first, through the whole text, then shorter ones in what is left, as in llama.cpp
(src/llama-vocab.cpp, ``tokenizer_st_partition``): where two overlap, the longer wins, not the earlier.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set

from oxillama.vocab.special_text import SpecialText

# What C's isspace() accepts; the strip attributes know no other white space.
SPACES = " \t\n\v\f\r"
BUCKET_LENGTH = 3


class Partition:
    """Cuts texts at the given tokens."""

    def __init__(self, tokens: list[SpecialText]) -> None:
        ordered = sorted(tokens, key=lambda token: (-len(token.text.encode()), token.id))
        # Vocabularies have thousands of special tokens that share few beginnings, and most texts contain none.
        self._buckets: defaultdict[str, list[tuple[int, SpecialText]]] = defaultdict(list)
        for rank, token in enumerate(ordered):
            self._buckets[token.text[:BUCKET_LENGTH]].append((rank, token))

    def split(self, text: str, *, parse_special: bool, except_for: Set[str] = frozenset()) -> list[str | int]:
        """Non-empty pieces of text and token ids, in order. Without ``parse_special`` only ``always`` tokens count.

        Tokens of the texts ``except_for`` are not looked for."""
        present = sorted(
            (rank, token.id, token)
            for start, bucket in self._buckets.items()
            if start in text
            for rank, token in bucket
            if (parse_special or token.always) and token.text not in except_for and token.text in text
        )
        pieces: list[str | int] = [text] if text else []
        for _, _, token in present:
            pieces = [part for piece in pieces for part in ([piece] if isinstance(piece, int) else cut(piece, token))]
        return pieces


def cut(text: str, token: SpecialText) -> list[str | int]:
    before, *rest = text.split(token.text)
    parts: list[str | int] = []
    for i, after in enumerate(rest):
        left = before.rstrip(SPACES) if token.lstrip else before
        if left:
            parts.append(left)
        parts.append(token.id)
        before = after.lstrip(SPACES) if token.rstrip else after
        if i == len(rest) - 1 and before:
            parts.append(before)
    return parts or [text]
