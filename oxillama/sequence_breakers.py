"""Which token sequences break a repetition for DRY: the texts that a caller names, in the words of a vocabulary."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Protocol

from oxillama.errors import InvalidRequestError


class TextVocabulary(Protocol):
    """What turning texts into tokens needs; ``oxillama.Tokenizer`` has it."""

    @property
    def n_vocab(self) -> int: ...

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]: ...

    def token_bytes(self, token: int, /) -> bytes: ...


# Looking a breaker up walks the whole vocabulary, and requests name the same few breakers again and again.
_found: weakref.WeakKeyDictionary[TextVocabulary, dict[str, tuple[tuple[int, ...], ...]]] = weakref.WeakKeyDictionary()
_MAX_REMEMBERED = 256


def breaker_sequences(
    breakers: Sequence[str | Sequence[int]], tokenizer: TextVocabulary | None
) -> list[tuple[int, ...]]:
    """Return the token sequences after which a repetition starts anew.

    A text breaks wherever it appears: in every token that contains it, and in every token that ends with its
    beginning when the rest follows. Token sequences stand for themselves. Raises InvalidRequestError for a text
    where there is no tokenizer.
    """
    sequences: list[tuple[int, ...]] = []
    for breaker in breakers:
        if not isinstance(breaker, str):
            sequences.append(tuple(breaker))
        elif tokenizer is None:
            raise InvalidRequestError(
                "a text in dry_sequence_breakers needs a tokenizer; use token sequences, or () for none",
                param="dry_sequence_breakers",
            )
        else:
            sequences.extend(_remembered(breaker, tokenizer))
    return sequences


def _remembered(text: str, tokenizer: TextVocabulary) -> tuple[tuple[int, ...], ...]:
    known = _found.setdefault(tokenizer, {})
    if text not in known:
        if len(known) >= _MAX_REMEMBERED:
            known.clear()
        known[text] = tuple(_search(text, tokenizer))
    return known[text]


def _search(text: str, tokenizer: TextVocabulary) -> list[tuple[int, ...]]:
    wanted = text.encode()
    # Only the characters' own boundaries can split the text between tokens that a tokenizer writes as text.
    splits = [(text[:i].encode(), text[i:]) for i in range(len(text) - 1, 0, -1)]
    rests: dict[str, tuple[int, ...]] = {}
    sequences: list[tuple[int, ...]] = []
    for token in range(tokenizer.n_vocab):
        piece = tokenizer.token_bytes(token)
        if wanted in piece:
            sequences.append((token,))
            continue
        for start, rest in splits:
            if piece.endswith(start):
                if rest not in rests:
                    rests[rest] = tuple(tokenizer.encode(rest, add_special=False, parse_special=False))
                sequences.append((token, *rests[rest]))
    return sequences
