"""WordPiece vocabularies on a hand-made one."""

from __future__ import annotations

import time

import pytest

from oxillama.errors import ModelLoadError
from oxillama.tokenizer import Tokenizer
from tests.vocab.vocabularies import wordpiece_metadata

BERT = Tokenizer(wordpiece_metadata())
PAD, UNK, CLS, SEP, MASK, UN, AFF, ABLE, HELLO, COMMA, DOT, START_A, INNER_A, MIDDLE, CAFE = range(15)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        (" \t\n ", []),
        ("unaffable", [UN, AFF, ABLE]),
        ("Hello, HELLO.", [HELLO, COMMA, HELLO, DOT]),
        ("caf\u00e9 cafe\u0301", [CAFE, CAFE]),  # composed or not, accents go
        ("hel\u00adlo he\0llo", [HELLO, HELLO]),  # soft hyphen and NUL go
        ("\u4e2d\u4e2dhello", [MIDDLE, MIDDLE, HELLO]),  # ideographs are words of their own
        ("hello\u3000hello\u00a0hello", [HELLO, HELLO, HELLO]),
        ("hellox unaffablex", [UNK, UNK]),  # a word that does not work out is unknown as a whole
        ("aff", [UNK]),  # continues a word, starts none
        ("[MASK]", [UNK, UNK, UNK]),
    ],
)
def test_known_answers(text: str, ids: list[int]) -> None:
    assert BERT.encode(text, add_special=False) == ids
    assert BERT.encode(text) == [CLS, *ids, SEP]


def test_special_tokens_are_parsed_on_request() -> None:
    assert BERT.encode("hello [MASK].", parse_special=True) == [CLS, HELLO, MASK, DOT, SEP]


def test_case_is_kept_where_the_file_says_so() -> None:
    cased = Tokenizer(wordpiece_metadata(**{"normalizer.lowercase": False}))
    assert cased.encode("Hello hello", add_special=False) == [UNK, HELLO]


def test_decoding_drops_the_space_before_punctuation() -> None:
    assert BERT.decode(BERT.encode("hello, unaffable.", add_special=False)) == " hello, unaffable."


def test_long_words_have_no_limit_and_take_linear_time() -> None:
    start = time.thread_time()
    assert BERT.encode("a" * 100_000, add_special=False) == [START_A] + [INNER_A] * 99_999
    assert time.thread_time() - start < 10


def test_an_unknown_token_is_needed() -> None:
    tokenizer = Tokenizer(
        {"tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": [b"\xe2\x96\x81a"], "tokenizer.ggml.token_type": [1]}
    )
    with pytest.raises(ModelLoadError, match="unknown_token_id"):
        tokenizer.encode("a")
