"""Text that comes in pieces, for readers that ask for more where they need it. Nothing that has been taken is looked at
again, so that reading takes linear time."""

from __future__ import annotations

import re
from collections.abc import Generator
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")
# A reader yields None where it waits for more text.
Waiting = Generator[None, None, T]

_SPACE = re.compile(r"\s+")


class Malformed(Exception):
    """What comes is not what it must be."""


class Source:
    """``buffer[position:]`` has come and has not been taken. ``closed``: nothing more will come."""

    def __init__(self) -> None:
        self.buffer: str = ""
        self.position: int = 0
        self.closed = False
        self._taken: list[str] | None = None

    def feed(self, text: str) -> None:
        self.buffer = self.buffer[self.position :] + text
        self.position = 0

    # --- what has been taken since a place

    def record(self) -> None:
        """From here on it is remembered what is taken."""
        self._taken = []

    def recorded(self) -> str:
        """What has been taken since; it is forgotten."""
        taken, self._taken = self._taken, None
        return "".join(taken or ())

    # --- without waiting

    def take(self, size: int) -> str:
        text = self.buffer[self.position : self.position + size]
        self.position += len(text)
        if self._taken is not None:
            self._taken.append(text)
        return text

    def match(self, pattern: re.Pattern[str]) -> str:
        """Takes what matches here."""
        found = pattern.match(self.buffer, self.position)
        return self.take(found.end() - self.position) if found else ""

    def before(self, marker: str) -> tuple[str, bool]:
        """Takes the text before the next marker, or what is certainly none of it; and whether the marker is here."""
        found = self.buffer.find(marker, self.position)
        if found >= 0:
            return self.take(found - self.position), True
        held = 0 if self.closed else partial_end(self.buffer, self.position, marker)
        return self.take(len(self.buffer) - self.position - held), False

    # --- waiting

    def peek(self) -> Waiting[str]:
        """The next character; "" at the end."""
        while self.position >= len(self.buffer):
            if self.closed:
                return ""
            yield None
        return self.buffer[self.position]

    def skip_space(self) -> Waiting[None]:
        while True:
            self.match(_SPACE)
            if self.position < len(self.buffer) or self.closed:
                return
            yield None

    def accept(self, marker: str) -> Waiting[bool]:
        """Takes the marker if it is here."""
        here = yield from self.stands(marker)
        if here:
            self.take(len(marker))
        return here

    def stands(self, marker: str) -> Waiting[bool]:
        """Whether the marker is here."""
        while True:
            if self.buffer.startswith(marker, self.position):
                return True
            rest = len(self.buffer) - self.position
            if self.closed or rest >= len(marker) or not marker.startswith(self.buffer[self.position :]):
                return False
            yield None

    def accept_words(self, marker: str) -> Waiting[bool]:
        """Takes a marker whose words may have any white space before and between them. Part of one stays taken."""
        for word in words(marker):
            yield from self.skip_space()
            if not (yield from self.accept(word)):
                return False
        return True

    def exactly(self, size: int) -> Waiting[str]:
        while len(self.buffer) - self.position < size:
            if self.closed:
                raise Malformed
            yield None
        return self.take(size)

    def until(self, marker: str, limit: int) -> Waiting[str]:
        """Takes a short text before a marker, which stays. Raises Malformed where it is longer or has no end."""
        pieces: list[str] = []
        size = 0
        while True:
            piece, ended = self.before(marker)
            pieces.append(piece)
            size += len(piece)
            if size > limit or (self.closed and not ended):
                raise Malformed
            if ended:
                return "".join(pieces)
            yield None

    def word(self, pattern: re.Pattern[str], limit: int) -> Waiting[str]:
        """Takes all that matches, which must be something."""
        pieces: list[str] = []
        size = 0
        while True:
            piece = self.match(pattern)
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise Malformed
            if self.position < len(self.buffer) or self.closed:
                if not size:
                    raise Malformed
                return "".join(pieces)
            yield None


@lru_cache(maxsize=512)
def words(marker: str) -> tuple[str, ...]:
    return tuple(marker.split())


def partial_end(text: str, start: int, marker: str) -> int:
    """Length of the longest end of ``text[start:]`` that the marker begins with, and is not all of it."""
    begin = max(start, len(text) - len(marker) + 1)
    while (begin := text.find(marker[0], begin)) >= 0:
        if marker.startswith(text[begin:]):
            return len(text) - begin
        begin += 1
    return 0
