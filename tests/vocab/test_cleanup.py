"""Dropping the spaces before punctuation."""

from __future__ import annotations

import pytest

from oxillama.vocab.cleanup import clean_spaces


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("hello , world . ok ? no !", "hello, world. ok? no!"),
        (" .", "."),
        ("  ..", " .."),
        ("a ' b", "a'b"),
        ("' b", "' b"),
        ("it 's i 'm we 've you 're", "it's i'm we've you're"),
        ("can 't i 'd we 'll x 'r", "can 't i 'd we 'll x 'r"),
        ("a ; b : c", "a ; b : c"),
        ("", ""),
    ],
)
def test_known_answers(text: str, cleaned: str) -> None:
    assert clean_spaces(text.encode()) == cleaned.encode()
