"""The demo model's stories in another voice, which an adapter learns."""

from __future__ import annotations

import re

_WORDS = {
    "friend": "mate",
    "friends": "mates",
    "happy": "merry",
    "house": "ship",
    "said": "roared",
    "asked": "bellowed",
    "yes": "aye",
    "Yes": "Aye",
    "hello": "ahoy",
    "Hello": "Ahoy",
    "my": "me",
    "little": "wee",
    "walked": "sailed",
    "went": "sailed",
    "very": "mighty",
}
_WORD = re.compile(r"[A-Za-z]+")


def as_pirate(text: str) -> str:
    """A story in the other voice: other words, and an oath at the end of each sentence."""
    text = _WORD.sub(lambda match: _WORDS.get(match[0], match[0]), text)
    text = text.replace("The end.", "Yo ho ho!")
    return re.sub(r"(?<=[a-z])\.(?= |$|\n)", ", arr!", text)
