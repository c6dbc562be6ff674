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
    texts = [breaker for breaker in breakers if isinstance(breaker, str)]
    if texts and tokenizer is None:
        raise InvalidRequestError(
            "a text in dry_sequence_breakers needs a tokenizer; use token sequences, or () for none",
            param="dry_sequence_breakers",
        )
    found = {} if tokenizer is None else _look_up(texts, tokenizer)
    sequences: list[tuple[int, ...]] = []
    for breaker in breakers:
        if isinstance(breaker, str):
            sequences.extend(found[breaker])
        else:
            sequences.append(tuple(breaker))
    return sequences


def _look_up(texts: Sequence[str], tokenizer: TextVocabulary) -> dict[str, tuple[tuple[int, ...], ...]]:
    known = _found.get(tokenizer, {})
    unknown = set(texts) - known.keys()
    if unknown:
        pieces = [tokenizer.token_bytes(token) for token in range(tokenizer.n_vocab)]
        fresh = {text: tuple(_search(text, pieces, tokenizer)) for text in unknown}
        # A new dictionary, never a changed one: requests of several threads may be looking.
        known = fresh | known if len(known) + len(fresh) <= _MAX_REMEMBERED else fresh | _only(known, texts)
        _found[tokenizer] = known
    return known


def _only(
    known: dict[str, tuple[tuple[int, ...], ...]], texts: Sequence[str]
) -> dict[str, tuple[tuple[int, ...], ...]]:
    return {text: sequences for text, sequences in known.items() if text in texts}


def _search(text: str, pieces: Sequence[bytes], tokenizer: TextVocabulary) -> list[tuple[int, ...]]:
    wanted = text.encode()
    # Only the characters' own boundaries can split the text between tokens that a tokenizer writes as text; and no
    # token ends with more of it than the longest token has.
    longest = max(map(len, pieces), default=0)
    splits = [(text[:i].encode(), text[i:]) for i in range(min(len(text) - 1, longest), 0, -1)]
    rests: dict[str, tuple[int, ...]] = {}
    sequences: list[tuple[int, ...]] = []
    for token, piece in enumerate(pieces):
        if wanted in piece:
            sequences.append((token,))
            continue
        for start, rest in splits:
            if piece.endswith(start):
                if rest not in rests:
                    rests[rest] = tuple(tokenizer.encode(rest, add_special=False, parse_special=False))
                sequences.append((token, *rests[rest]))
    return sequences
