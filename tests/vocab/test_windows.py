"""A text that is encoded window by window has the ids of the whole text, whatever the vocabulary's family."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oxillama.tokenizer import Tokenizer
from oxillama.vocab import windows
from oxillama.vocab.bpe import word_splitter
from oxillama.vocab.pretokenizers import PRE_TOKENIZERS
from oxillama.vocab.windows import Windows
from tests.vocab.vocabularies import byte_pair_metadata, sentencepiece_metadata, wordpiece_metadata

# What the expressions of pre-tokenizers tell apart, and words that the small vocabularies know.
PIECES = ["a", "B", " ", "  ", "\n", "\r\n", "\t", "1", "12345", "'s", "'", "!", "./", "\u00e9", "\u4e00", "\u0301"]
PIECES += ["hello", " world", " the girl", "IMGIMGA", "\u200c", "\U0001f600", "\u0967", "\u3002", "<", "_", "(a) b"]
pieces = st.sampled_from([*PIECES, "\u2581", "\ufeff"])
texts = st.lists(pieces | st.text(max_size=2), max_size=24).map("".join)


def cut_everywhere(tokenizer: Tokenizer, text: str) -> list[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WINDOW", 1)
        return tokenizer.encode(text)


BYTE_PAIRS = {name: Tokenizer(byte_pair_metadata(name)) for name in PRE_TOKENIZERS}


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
@settings(max_examples=25)
@given(text=texts)
@example("a b c\nd 12 e\n\nf")
@example("1" * 400 + " a " + "2" * 301)
@example("it's a b's c\n/d\n e")
def test_byte_pairs(name: str, text: str) -> None:
    assert cut_everywhere(BYTE_PAIRS[name], text) == BYTE_PAIRS[name].encode(text)


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
@settings(max_examples=25)
@given(text=texts)
@example("a b c\nd 12 e\n\nf")
@example("1" * 400 + " a " + "2" * 301)
def test_the_words_of_byte_pairs(name: str, text: str) -> None:
    # The small vocabulary merges little; larger ones would show where a word was cut.
    split = word_splitter(PRE_TOKENIZERS[name]).pre_tokenize_str
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WINDOW", 1)
        found = [word for window in Windows(*PRE_TOKENIZERS[name].windows).cut(text) for word, _ in split(window)]
    assert found == [word for word, _ in split(text)]


SPM = Tokenizer(sentencepiece_metadata("bpe"))
UNIGRAM = Tokenizer(sentencepiece_metadata("unigram"))
WORD_PIECE = Tokenizer(wordpiece_metadata())


@given(texts)
def test_sentencepiece(text: str) -> None:
    for tokenizer in (SPM, UNIGRAM):
        assert cut_everywhere(tokenizer, text) == tokenizer.encode(text)


@given(texts)
def test_wordpiece(text: str) -> None:
    assert cut_everywhere(WORD_PIECE, text) == WORD_PIECE.encode(text)


@given(st.lists(st.sampled_from(["ab", " ", "\n", "1", "c d"]), max_size=40).map("".join), st.integers(1, 5))
def test_windows_are_the_text(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "WINDOW", size)
        patch.setattr(windows, "_LOOK", 3)
        for kinds in ((), ("words",), ("lines", "digits"), ("words", "lines", "digits"), ("spaces",)):
            found = list(Windows(*kinds).cut(text))
            assert "".join(found) == text
            assert all(found)
            assert kinds or len(found) <= 1


def test_a_long_text_is_never_encoded_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = BYTE_PAIRS["qwen2"]
    tokenizer.prepare()
    encoder = tokenizer._encoder
    assert encoder is not None
    lengths = []
    encode = type(encoder).encode

    def noting(self: object, text: str, *, after_special: bool) -> list[int]:
        lengths.append(len(text))
        return encode(encoder, text, after_special=after_special)

    monkeypatch.setattr(type(encoder), "encode", noting)
    for text in ("some words " * 40_000, "line\n" * 80_000, "7" * 400_000):
        tokenizer.encode(text)
    assert len(lengths) > 30
    assert max(lengths) < 2 * windows.WINDOW


@pytest.mark.parametrize("vocab", ["llama-bpe", "llama-spm", "gpt-2", "qwen2", "phi-3", "starcoder", "bert-bge"])
def test_vocabularies_of_models(vocab: str, fixtures_dir: Path) -> None:
    tokenizer = Tokenizer.from_gguf(fixtures_dir / "vocab" / f"ggml-vocab-{vocab}.gguf")
    text = (fixtures_dir / "vocab" / f"ggml-vocab-{vocab}.gguf.inp").read_text(errors="replace")
    text += "\n" + Path(__file__).read_text() + " 3.14159 the  quick\tbrown fox\n" * 3
    assert cut_everywhere(tokenizer, text) == tokenizer.encode(text)
