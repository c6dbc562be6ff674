"""The least number of tokens of a text, told from its bytes: never more than there are, and of use for long texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama import ContextLengthError
from oxillama.tokenizer import COUNTED, Tokenizer
from tests.vocab.test_windows import BYTE_PAIRS, SPM, UNIGRAM, WORD_PIECE, texts
from tests.vocab.vocabularies import BYTE, byte_pair_metadata, sentencepiece_metadata


def without_bytes() -> Tokenizer:
    """A SentencePiece vocabulary in which an unknown character is one unknown token, and many of them too."""
    base = sentencepiece_metadata("bpe")
    kept = [index for index, kind in enumerate(base["tokenizer.ggml.token_type"]) if kind != BYTE]
    lists = {name: [base[f"tokenizer.ggml.{name}"][i] for i in kept] for name in ("tokens", "scores", "token_type")}
    return Tokenizer(sentencepiece_metadata("bpe", **lists))


def stripping() -> Tokenizer:
    """Its special tokens take the white space behind them along, as Phi-3's do."""
    metadata = byte_pair_metadata()
    metadata["general.name"] = "phi-3"
    return Tokenizer(metadata)


TOKENIZERS = {
    "byte pairs": BYTE_PAIRS["gpt-2"],
    "characters": Tokenizer(byte_pair_metadata("gemma4", model="gemma4")),
    "SentencePiece": SPM,
    "no bytes": without_bytes(),
    "stripping": stripping(),
    "Unigram": UNIGRAM,
    "WordPiece": WORD_PIECE,
}
specials = st.sampled_from(["<tool>", "<|im_end|>   \n ", "<sep>", "</s>", "\u2581\u2581 ", "\u00e9\u00e9\u00e9\u00e9"])


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=st.lists(texts | specials, max_size=6).map("".join), parse_special=st.booleans())
def test_it_is_never_more_than_there_are(name: str, text: str, parse_special: bool) -> None:
    ids = TOKENIZERS[name].encode(text, add_special=False, parse_special=parse_special)
    assert TOKENIZERS[name].least_tokens(text) <= len(ids)


@pytest.mark.parametrize("name", ["byte pairs", "SentencePiece", "no bytes", "stripping"])
def test_of_a_long_text_it_is_not_much_less(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    text = "hg" * 5000
    assert tokenizer.least_tokens(text) > len(tokenizer.encode(text)) / 10


@pytest.mark.parametrize("vocab", ["llama-bpe", "llama-spm", "gpt-2", "qwen2", "phi-3", "starcoder", "bert-bge"])
def test_vocabularies_of_models(vocab: str, fixtures_dir: Path) -> None:
    tokenizer = Tokenizer.from_gguf(fixtures_dir / "vocab" / f"ggml-vocab-{vocab}.gguf")
    inputs = (fixtures_dir / "vocab" / f"ggml-vocab-{vocab}.gguf.inp").read_text(errors="replace")
    longest = max((tokenizer.token_bytes(token) for token in range(tokenizer.n_vocab)), key=len)
    for text in (inputs, "7" * 1000, " " * 1000, longest.decode("utf-8", "replace") * 50, "\u2581 \n" * 300):
        assert tokenizer.least_tokens(text) <= len(tokenizer.encode(text, add_special=False, parse_special=True))
    assert vocab == "bert-bge" or tokenizer.least_tokens("7" * 100_000) > 1000


def test_what_cannot_fit_is_refused_before_anything_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("this must not be reached")

    for metadata in (byte_pair_metadata(), sentencepiece_metadata("bpe")):
        tokenizer = Tokenizer(metadata)
        monkeypatch.setattr(tokenizer, "_text_encoder", stop)
        with pytest.raises(ContextLengthError, match="at least") as caught:
            tokenizer.encode("some words " * 10_000, limit=512)
        assert caught.value.at_least
        assert 512 < caught.value.n_prompt_tokens <= 110_000
        assert caught.value.param == "text"


@pytest.mark.parametrize("name", ["characters", "no bytes", "Unigram", "WordPiece"])
def test_where_bytes_tell_nothing_encoding_ends_early(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = TOKENIZERS[name]
    whole = len(tokenizer.encode("a b\n" * 100_000))
    tokenizer.prepare()
    monkeypatch.setattr(tokenizer, "_bound", type("Nothing", (), {"least": lambda self, text: 0})())
    if not tokenizer._windows._place:
        return  # one stretch: nobody looks meanwhile
    with pytest.raises(ContextLengthError) as caught:
        tokenizer.encode("a b\n" * 100_000, limit=100)
    assert 100 < caught.value.n_prompt_tokens < whole / 4


def test_a_text_that_is_not_long_is_counted_to_its_end() -> None:
    tokenizer = BYTE_PAIRS["gpt-2"]
    text = "z" * COUNTED
    assert len(tokenizer.encode(text, limit=10)) == COUNTED
    with pytest.raises(ContextLengthError):
        tokenizer.encode(f"{text}z", limit=10)
    assert len(tokenizer.encode(f"{text}z", limit=COUNTED + 10)) > COUNTED


def test_special_tokens_count_too(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = BYTE_PAIRS["gpt-2"]
    with pytest.raises(ContextLengthError):
        tokenizer.encode("<tool>" * 20_000, limit=3000)
