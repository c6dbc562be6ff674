"""Breaker texts in the words of a vocabulary."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama import InvalidRequestError, Tokenizer
from oxillama.sampling.sequence_breakers import breaker_sequences
from tests.sampling.test_params import Words


def test_every_token_with_the_text_breaks() -> None:
    assert breaker_sequences(["b"], Words()) == [(1,), (2,), (4,)]


def test_a_text_may_begin_in_one_token_and_end_in_the_next() -> None:
    # Token 0 is "a", token 2 is "ab"; "a" and then "b" write the text too.
    assert breaker_sequences(["ab"], Words()) == [(2,), (0, 1)]


def test_a_text_longer_than_any_token_costs_no_more_than_its_length() -> None:
    # Token 0 is "a" and token 2 is "ab": the rest of the text follows either.
    text = "ab" * 50_000
    found = breaker_sequences([text], Words())
    assert [sequence[0] for sequence in found] == [0, 2]
    assert found[1][1:] == tuple(Words().encode(text[2:], add_special=False))


def test_token_sequences_stand_for_themselves() -> None:
    assert breaker_sequences([[3, 1], (2,)], None) == [(3, 1), (2,)]
    assert breaker_sequences([], None) == []


def test_a_real_vocabulary(fixtures_dir: Path) -> None:
    tokenizer = Tokenizer.from_gguf(fixtures_dir / "vocab" / "ggml-vocab-llama-bpe.gguf")
    singles = {sequence[0] for sequence in breaker_sequences(["\n"], tokenizer)}
    assert singles == {i for i in range(tokenizer.n_vocab) if b"\n" in tokenizer.token_bytes(i)}
    for text in ("\n", ".\n\n", "}\n"):
        assert tokenizer.encode(text, add_special=False)[-1] in singles


class Letters(Words):
    """Words of few letters, some of them equal, one of them empty, some not whole characters."""

    words: tuple[bytes, ...] = (
        b"a",
        b"b",
        b"ab",
        b"aab",
        b"",
        b"ba",
        b"ab",
        b"\xc3",
        b"\xa9",
        b"\xc3\xa9",
        b"bb\xc3\xa9",
        b"c",
    )
    n_vocab = len(words)


@given(st.text("ab\u00e9", min_size=1, max_size=6))
def test_a_search_finds_what_looking_at_every_token_finds(text: str) -> None:
    letters = Letters()
    found: set[tuple[int, ...]] = set()
    for token, word in enumerate(letters.words):
        if text.encode() in word:
            found.add((token,))
            continue
        for size in range(1, len(text)):
            if word.endswith(text[:size].encode()):
                found.add((token, *letters.encode(text[size:], add_special=False)))
    sequences = breaker_sequences([text], letters)
    assert set(sequences) == found
    assert len(sequences) == len(set(sequences))


def test_all_breakers_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oxillama.sampling.sequence_breakers.MAX_TOKENS", 6)
    assert len(breaker_sequences(["ab", [3, 1, 0]], Words())) == 3
    with pytest.raises(InvalidRequestError, match="more than 6 tokens") as caught:
        breaker_sequences(["ab", [3, 1, 0, 2]], Words())
    assert caught.value.param == "dry_sequence_breakers"


def test_a_text_needs_a_tokenizer() -> None:
    with pytest.raises(InvalidRequestError, match="needs a tokenizer"):
        breaker_sequences(["b"], None)


def test_what_was_found_is_remembered_as_long_as_the_tokenizer() -> None:
    class Counting(Words):
        looked = 0

        def token_bytes(self, token: int, /) -> bytes:
            self.looked += 1
            return super().token_bytes(token)

    tokenizer = Counting()
    first = breaker_sequences(["b"], tokenizer)
    looked = tokenizer.looked
    assert breaker_sequences(["b"], tokenizer) == first
    assert tokenizer.looked == looked
    for i in range(600):
        breaker_sequences([f"never {i}", "b"], tokenizer)
    assert breaker_sequences(["b", "ab"], tokenizer) == [*first, (2,), (0, 1)]
    gone = weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert gone() is None
