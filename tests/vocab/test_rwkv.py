"""RWKV's vocabularies on a hand-made one, and on the recorded ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oxillama.errors import ModelLoadError
from oxillama.tokenizer import Tokenizer

WORDS = [b"a", b"ab", b"abcd", b" the", b"\\n\\n", b"\\xe4\\xb8", b"\\xe4\\xb8\\xad", b"it\\'s", b"\\\\n"]
FIRST_WORD = 257


def metadata(words: list[bytes] = WORDS, **changes: Any) -> dict[str, Any]:
    """<s>, each byte as Python spells it, and words."""
    tokens = [b"<s>", *(repr(bytes([byte]))[2:-1].encode() for byte in range(256)), *words]
    types = [3] + [1] * (len(tokens) - 1)
    return {
        "tokenizer.ggml.model": "rwkv",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
        **{f"tokenizer.ggml.{name}": value for name, value in changes.items()},
    }


def word(text: bytes) -> int:
    return FIRST_WORD + WORDS.index(text)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", []),
        ("abcd", [word(b"abcd")]),
        ("abc", [word(b"ab"), 1 + ord("c")]),  # the longest that fits, not the longest that begins so
        ("aabab", [word(b"a"), word(b"ab"), word(b"ab")]),
        ("\n\n\n", [word(b"\\n\\n"), 1 + 10]),
        ("\\n", [word(b"\\\\n")]),  # a backslash and an n
        ("it's", [word(b"it\\'s")]),
        ("\u4e2d", [word(b"\\xe4\\xb8\\xad")]),
        ("\u4e3d", [word(b"\\xe4\\xb8"), 1 + 0xBD]),  # tokens may end within a character
        ("<s>", [1 + ord("<"), 1 + ord("s"), 1 + ord(">")]),  # control tokens are no text
    ],
)
def test_known_answers(text: str, ids: list[int]) -> None:
    tokenizer = Tokenizer(metadata())
    assert tokenizer.encode(text) == ids
    assert tokenizer.decode(ids) == text


def test_control_tokens_are_parsed_on_request() -> None:
    assert Tokenizer(metadata()).encode("a<s>a", parse_special=True) == [word(b"a"), 0, word(b"a")]


def test_the_last_of_equal_tokens_counts() -> None:
    assert Tokenizer(metadata([b"ab", b"ab"])).encode("ab") == [FIRST_WORD + 1]


def test_bytes_without_a_token_are_unknown_or_an_error_of_the_file() -> None:
    broken = metadata()
    broken["tokenizer.ggml.tokens"][1 + ord("z")] = b"zz"
    with pytest.raises(ModelLoadError, match="byte 0x7a has none"):
        Tokenizer(broken).prepare()
    assert Tokenizer({**broken, "tokenizer.ggml.unknown_token_id": 0}).encode("az") == [word(b"a"), 0]


@pytest.mark.parametrize("name", ["rwkv6", "rwkv7"])
def test_recorded_vocabularies(fixtures_dir: Path, name: str) -> None:
    folder = fixtures_dir / "arch" / "rwkv"
    tokenizer = Tokenizer.from_gguf(folder / f"{name}.gguf")
    recorded = json.loads((folder / f"{name}.json").read_text())
    assert tokenizer.newline_id == recorded["special"]["nl"]
    for case in recorded["tokenize"]:
        assert tokenizer.encode(case["text"], add_special=False) == case["plain"]
        assert tokenizer.encode(case["text"], parse_special=True) == case["special"]
        assert tokenizer.decode(case["plain"]) == case["text"]
