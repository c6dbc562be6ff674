"""How texts are cut into words, by the name a file gives."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama.errors import UnsupportedModelError
from oxillama.vocab.bpe import word_splitter
from oxillama.vocab.pretokenizers import CASED_LETTERS, PRE_TOKENIZERS, find_pre_tokenizer

ONE_NAME_PER_RULE = sorted({pre.patterns: name for name, pre in PRE_TOKENIZERS.items()}.values())


def cut(name: str, text: str) -> list[str]:
    return [word for word, _ in word_splitter(find_pre_tokenizer(name)).pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gpt-2", "I've 12345  apples", ["I", "'ve", " 12345", " ", " apples"]),
        ("gpt-2", "IT'S", ["IT", "'", "S"]),
        ("llama-bpe", "I'VE 12345  apples!!\n\nx", ["I", "'VE", " ", "123", "45", " ", " apples", "!!\n\n", "x"]),
        ("qwen2", "ab 123\t\n x", ["ab", " ", "1", "2", "3", "\t\n", " x"]),
        ("qwen35", "\u0915\u093f x", ["\u0915\u093f", " x"]),
        ("starcoder", "ab 123", ["ab", " ", "1", "2", "3"]),
        ("falcon", "f(x)=12345;", ["f", "(", "x", ")=", "123", "45", ";"]),
        ("default", "a+b 1234", ["a", "+", "b", " ", "123", "4"]),
        # Its punctuation includes the range from colon to tilde, and so the letters of ASCII.
        ("deepseek-llm", "h\u00e9llo \u4e16\u754c 12\n", ["h", "\u00e9", "llo", " ", "\u4e16\u754c", " ", "12", "\n"]),
        ("deepseek-llm", " \u03b1\u03b2 \u0436", [" \u03b1\u03b2", " \u0436"]),
        ("deepseek-coder", "x, 12", ["x", ",", " ", "1", "2"]),
        ("deepseek-v3", ".then \u4e16\u30ab 12345", [".then", " ", "\u4e16\u30ab", " ", "123", "45"]),
        ("tekken", "HelloWorld 12", ["Hello", "World", " ", "1", "2"]),
        ("gpt-4o", "camelCase \u00c9t\u00e9'S 1234", ["camel", "Case", " \u00c9t\u00e9'S", " ", "123", "4"]),
        ("kimi-k2", "abc\u4e2d\u6587def", ["abc", "\u4e2d\u6587", "def"]),
        ("superbpe", "x 1234567", ["x ", "1", "234", "567"]),
        ("afmoe", "12345678", ["12", "345", "678"]),
        ("tiny_aya", "1234567 1234a", ["1", "234", "567", " ", "123", "4", "a"]),
        ("bloom", "Hi, you", ["Hi", ",", " you"]),
        ("viking", "Hi 12", ["Hi", " ", "1", "2"]),
        ("chameleon", "a    b\n1", ["a", "    ", "b", "\n", "1"]),
        ("exaone-moe", "ab cd 1", ["ab cd", " ", "1"]),
        ("minicpm5", "a 12345", ["a", " ", "123", "45"]),
        ("laguna", "a\n\nb", ["a", "\n\n", "b"]),
        ("gemma4", "a b\n\nc", ["a b", "\n\n", "c"]),
    ],
)
def test_known_answers(name: str, text: str, words: list[str]) -> None:
    assert cut(name, text) == words


@pytest.mark.parametrize("name", ONE_NAME_PER_RULE)
@settings(max_examples=25)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.text("aA1 '\n\u00e9\u4e2d.", max_size=40)
)
def test_nothing_is_lost(name: str, text: str) -> None:
    assert "".join(cut(name, text)) == text


@pytest.mark.parametrize("name", ONE_NAME_PER_RULE)
@pytest.mark.parametrize("unit", ["1", " ", "a", "A1 ", "\u0915\u093f", "!"])
def test_repetitive_texts_take_linear_time(name: str, unit: str) -> None:
    """A request must not stall the server: quadratic expressions took seconds here."""
    start = time.thread_time()  # its own: a busy machine is not quadratic
    assert "".join(cut(name, unit * 8000)) == unit * 8000
    assert time.thread_time() - start < 2


def test_the_ranges_of_cased_letters_ascend() -> None:
    """An editor that normalises Unicode turns some of these letters into others."""
    letters = CASED_LETTERS.replace("-", "")
    ends = [ord(char) for char in letters]
    assert ends == sorted(set(ends))


def test_names_that_share_a_rule_share_it() -> None:
    assert find_pre_tokenizer("llama3") is find_pre_tokenizer("llama-bpe")
    assert find_pre_tokenizer("llama3").ignore_merges
    assert not find_pre_tokenizer("qwen2").clean_spaces


def test_an_unknown_name_is_an_error_that_names_it() -> None:
    with pytest.raises(UnsupportedModelError, match="'no-such-rule'"):
        find_pre_tokenizer("no-such-rule")
