"""Keeps the texts of control tokens out of what a user writes, so that no message can forge a turn.

A rendered conversation is one string in which nobody can tell any more whose words are whose, and its special tokens
are found by their text. So before a template sees a string of the caller's, every control token in it is broken by a
sentinel, a character that occurs nowhere else; after the special tokens have been cut out, the sentinels go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from oxillama.errors import InvalidRequestError

# Private use, which means nothing to a template or a tokenizer: the basic plane's, then the two planes for it.
PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))
# How JSON and Python write such characters where they spell them out.
_ESCAPE_LENGTH = 10
_STRETCH = 64 << 10
_ESCAPE = re.compile(r"\\u[0-9a-f]{4}|\\U[0-9a-f]{8}")


@dataclass(frozen=True)
class Marks:
    """The characters of one conversation's markings. ``end`` marks where a continued message stops.

    ``stand_ins`` replace control tokens of a single character, which have no inside to break."""

    sentinel: str
    end: str
    stand_ins: dict[str, str] = field(default_factory=dict)

    def restore(self, rendered: str) -> str:
        """Marks that a template wrote as escapes (by tojson, or as a Python value) become characters again."""
        for mark in (self.sentinel, self.end, *self.stand_ins.values()):
            rendered = rendered.replace(json.dumps(mark)[1:-1], mark).replace(repr(mark)[1:-1], mark)
        return rendered

    def remove(self, text: str) -> str:
        """The text as the caller wrote it."""
        text = text.replace(self.sentinel, "").replace(self.end, "")
        for character, mark in self.stand_ins.items():
            text = text.replace(mark, character)
        return text


class ControlTexts:
    """The texts of a vocabulary's control tokens (or of any tokens that nobody may write), and how to break them."""

    def __init__(self, texts: Iterable[str]) -> None:
        known = frozenset(texts)
        self._single = sorted(text for text in known if len(text) == 1)
        self._whole = frozenset(text for text in known if len(text) > 1)
        self._heads = frozenset(text[:size] for text in self._whole for size in range(1, len(text)))
        self._tails = frozenset(text[size:] for text in self._whole for size in range(1, len(text)))
        self._insides = "\0".join(text[1:-1] for text in self._whole)
        self._longest = max(map(len, self._whole), default=0)
        # With the neighbour, without which there is nothing to break: a text may consist of such characters.
        firsts, seconds = (_any_of(text[place] for text in self._whole) for place in (0, 1))
        lasts, before = (_any_of(text[place] for text in self._whole) for place in (-1, -2))
        self._firsts = re.compile(rf"{firsts}(?={seconds}|\s|\Z)")
        self._lasts = re.compile(rf"{lasts}(?:(?<={before}.)|(?<=\s.)|(?<=\A.))", re.DOTALL)

    def marks(self, texts: Iterable[str]) -> Marks:
        """Characters that occur neither in these texts nor in a control token, and whose escapes do not either."""
        used, escapes = set[str]().union(*self._whole, self._single), set[str]()
        for text in texts:
            # In stretches, between which other threads get a turn.
            for begin in range(0, len(text), _STRETCH):
                used.update(text[begin : begin + _STRETCH])
                # One look for all of them: somebody may have written every escape there is.
                escapes.update(_ESCAPE.findall(text, max(0, begin - _ESCAPE_LENGTH), begin + _STRETCH))
        free = (
            character
            for plane in PRIVATE_USE
            for character in map(chr, plane)
            if character not in used and escapes.isdisjoint(_ESCAPE.findall(json.dumps(character) + repr(character)))
        )
        try:
            sentinel, end = next(free), next(free)
            return Marks(sentinel, end, {character: next(free) for character in self._single})
        except StopIteration:
            raise InvalidRequestError("the conversation uses every private character", param="messages") from None

    def broken(self, text: str, marks: Marks, *, alone: bool = False) -> str:
        """The text with a sentinel in every control token.

        Also in what could become one: the beginning of a token at the end of the text or of a word, and the other way
        round, since templates trim, split and put texts side by side. ``alone``: the text as a whole may be put into
        the middle of a token, as `<|{{ name }}|>` would."""
        cuts = self._cuts_in_tokens(text) | self._cuts_in_tails(text)
        if alone:
            # White space has nothing to break, so the mark goes before it.
            word = text.strip() or text
            if word and len(word) < self._longest and word in self._insides:
                cuts.add(text.index(word))
        if cuts:
            places = [0, *sorted(cuts), len(text)]
            text = marks.sentinel.join(text[i:j] for i, j in pairwise(places))
        for character, mark in marks.stand_ins.items():
            text = text.replace(character, mark)
        return text

    def _cuts_in_tokens(self, text: str) -> set[int]:
        cuts = set()
        for match in _found(self._firsts, text):
            start = match.start()
            for end in range(start + 1, min(len(text), start + self._longest) + 1):
                piece = text[start:end]
                if piece in self._whole or (piece in self._heads and (end == len(text) or text[end].isspace())):
                    cuts.add(start + 1)
                    break
                if piece not in self._heads:
                    break
        return cuts

    def _cuts_in_tails(self, text: str) -> set[int]:
        cuts = set()
        for match in _found(self._lasts, text):
            end = match.end()
            for start in range(end - 1, max(-1, end - self._longest), -1):
                if text[start:end] not in self._tails:
                    break
                if start == 0 or text[start - 1].isspace():
                    cuts.add(end - 1)
                    break
        return cuts


def _found(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches of one character, looked for in stretches, between which other threads get a turn. At the end of one of
    these there may be a match that is none."""
    for begin in range(0, len(text), _STRETCH):
        yield from pattern.finditer(text, begin, begin + _STRETCH)


def _any_of(characters: Iterable[str]) -> str:
    chosen = "".join(sorted(set(characters)))
    return f"[{re.escape(chosen)}]" if chosen else "[^\\s\\S]"
