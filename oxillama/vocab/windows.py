"""Cuts a long text into windows that are encoded one by one, with the ids that the whole text has.

A window ends where the vocabulary's family certainly ends a word, whatever stands before and after. So the memory that
encoding takes, and the time until somebody looks whether there are too many ids already, are those of a window. A text
without such places (a million digits) is one window.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Characters. Encoding makes a hundred bytes and more of each.
WINDOW = 32 << 10
# Where no end of a word is found at once, other threads get a turn between two looks.
_LOOK = 64 << 10

_PLACES = {
    # Between a word and the space before the next one.
    "words": "(?<=[A-Za-z])(?= [A-Za-z])",
    # Between the only line feed after a word and the next one.
    "lines": "(?<=[A-Za-z]\n)(?=[A-Za-z])",
    # Between two digits, where each is a word of its own.
    "digits": "(?<=[0-9])(?=[0-9])",
    # Behind a space, where all white space is dropped.
    "spaces": "(?<=[ \n])",
}


class Windows:
    """Cuts texts at the places of these kinds."""

    def __init__(self, *kinds: str) -> None:
        self._place = re.compile("|".join(_PLACES[kind] for kind in kinds)) if kinds else None

    def cut(self, text: str) -> Iterator[str]:
        """The text in pieces, none of them empty."""
        begin = 0
        while self._place is not None and len(text) - begin > WINDOW:
            end = self._find(self._place, text, begin + WINDOW)
            if end is None:
                break
            yield text[begin:end]
            begin = end
        if begin < len(text):
            yield text[begin:]

    def _find(self, place: re.Pattern[str], text: str, start: int) -> int | None:
        for begin in range(start, len(text), _LOOK):
            # One character more than is looked through: what stands behind a place belongs to it.
            found = place.search(text, begin, min(len(text), begin + _LOOK + 2))
            if found is not None and found.start() < len(text):
                return found.start()
        return None
