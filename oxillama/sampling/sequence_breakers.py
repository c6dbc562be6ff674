"""Which token sequences break a repetition for DRY: the texts that a caller names, in the words of a vocabulary."""

from __future__ import annotations

import weakref
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Protocol

from oxillama.errors import InvalidRequestError


class TextVocabulary(Protocol):
    """What turning texts into tokens needs; ``oxillama.Tokenizer`` has it."""

    @property
    def n_vocab(self) -> int: ...

    def encode(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]: ...

    def token_bytes(self, token: int, /) -> bytes: ...


# What the breakers of one request may take, in tokens: a text has as many sequences as there are tokens that end with
# its beginning, each as long as its rest.
MAX_TOKENS = 1 << 18


def breaker_sequences(
    breakers: Sequence[str | Sequence[int]], tokenizer: TextVocabulary | None
) -> list[tuple[int, ...]]:
    """Return the token sequences after which a repetition starts anew.

    A text breaks wherever it appears: in every token that contains it, and in every token that ends with its
    beginning when the rest follows. Token sequences stand for themselves. Raises InvalidRequestError for a text
    where there is no tokenizer, and for more than MAX_TOKENS tokens in all.
    """
    sequences: list[tuple[int, ...]] = []
    num_tokens = 0
    for breaker in dict.fromkeys(breaker if isinstance(breaker, str) else tuple(breaker) for breaker in breakers):
        for sequence in _search(breaker, tokenizer) if isinstance(breaker, str) else (breaker,):
            num_tokens += len(sequence)
            if num_tokens > MAX_TOKENS:
                raise InvalidRequestError(
                    f"dry_sequence_breakers are more than {MAX_TOKENS} tokens in this vocabulary",
                    param="dry_sequence_breakers",
                )
            sequences.append(sequence)
    return sequences


def _search(text: str, tokenizer: TextVocabulary | None) -> Iterator[tuple[int, ...]]:
    if tokenizer is None:
        raise InvalidRequestError(
            "a text in dry_sequence_breakers needs a tokenizer; use token sequences, or () for none",
            param="dry_sequence_breakers",
        )
    pieces = _pieces_of(tokenizer)
    wanted = text.encode()
    containing = set(pieces.containing(wanted))
    yield from ((token,) for token in sorted(containing))
    # Only the characters' own boundaries can split the text between tokens that a tokenizer writes as text.
    for size in range(1, min(len(text), pieces.longest + 1)):
        tokens = [token for token in pieces.ending(text[:size].encode()) if token not in containing]
        if tokens:
            rest = tuple(tokenizer.encode(text[size:], add_special=False, parse_special=False))
            yield from ((token, *rest) for token in tokens)


class _Pieces:
    """The bytes of a vocabulary's tokens, arranged for searches that do not look at each of them."""

    def __init__(self, tokenizer: TextVocabulary) -> None:
        pieces = [tokenizer.token_bytes(token) for token in range(tokenizer.n_vocab)]
        self.longest = max(map(len, pieces), default=0)
        self._starts = [0]
        for piece in pieces:
            self._starts.append(self._starts[-1] + len(piece))
        self._joined = b"".join(pieces)
        self._backwards = sorted((piece[::-1], token) for token, piece in enumerate(pieces))

    def containing(self, wanted: bytes) -> Iterator[int]:
        """The tokens with these bytes."""
        place = self._joined.find(wanted)
        while place >= 0:
            # The last token that begins here or before.
            token = bisect_left(self._starts, place + 1) - 1
            if place + len(wanted) <= self._starts[token + 1]:
                yield token
                place = self._starts[token + 1] - 1
            place = self._joined.find(wanted, place + 1)

    def ending(self, wanted: bytes) -> Iterator[int]:
        """The tokens that end with these bytes."""
        backwards = wanted[::-1]
        for index in range(bisect_left(self._backwards, (backwards, -1)), len(self._backwards)):
            piece, token = self._backwards[index]
            if not piece.startswith(backwards):
                return
            yield token


_known: weakref.WeakKeyDictionary[TextVocabulary, _Pieces] = weakref.WeakKeyDictionary()


def _pieces_of(tokenizer: TextVocabulary) -> _Pieces:
    pieces = _known.get(tokenizer)
    if pieces is None:
        pieces = _known[tokenizer] = _Pieces(tokenizer)
    return pieces
