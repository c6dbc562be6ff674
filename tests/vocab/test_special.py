"""Which tokens a vocabulary's special ones are."""

from __future__ import annotations

from typing import Any

import pytest

from oxillama._core.output.vocab import TokenFlag
from oxillama.tokenizer import Tokenizer
from oxillama.vocab.metadata import VocabMetadata
from oxillama.vocab.special_text import PHI3, find_strip_rule
from tests.vocab.vocabularies import CONTROL, NORMAL, byte_pair_metadata, sentencepiece_metadata, wordpiece_metadata


def with_tokens(*texts: str, kind: int = CONTROL, **changes: Any) -> Tokenizer:
    """A byte-pair vocabulary without special tokens of its own, and then these."""
    base = byte_pair_metadata()
    tokens = base["tokenizer.ggml.tokens"][:-3] + [text.encode() for text in texts]
    types = base["tokenizer.ggml.token_type"][:-3] + [kind] * len(texts)
    return Tokenizer(
        byte_pair_metadata(tokens=tokens, token_type=types, **{"bos_token_id": None, "eos_token_id": None} | changes)
    )


def ids_of(tokenizer: Tokenizer, *texts: str) -> set[int | None]:
    return {tokenizer.find(text.encode()) for text in texts}


def test_ends_of_generation_are_found_by_id_and_by_text() -> None:
    tokenizer = with_tokens(
        "<|im_end|>", "<|endoftext|>", "<|eom_id|>", "<|file_sep|>", "<|start|>", "<other>", eos_token_id=5
    )
    assert tokenizer.eog_ids == ids_of(tokenizer, "<|im_end|>", "<|endoftext|>", "<|eom_id|>", "<|file_sep|>") | {5}
    assert tokenizer.eot_id == tokenizer.find(b"<|im_end|>")
    assert tokenizer.eom_id == tokenizer.find(b"<|eom_id|>")
    assert tokenizer.is_eog(5)
    assert not tokenizer.is_eog(6)


def test_a_token_known_by_text_becomes_a_control_token() -> None:
    tokenizer = with_tokens("<|im_end|>", "<|other|>", kind=NORMAL)
    end, other = tokenizer.find(b"<|im_end|>"), tokenizer.find(b"<|other|>")
    assert end is not None
    assert other is not None
    assert tokenizer.is_control(end)
    assert not tokenizer.is_control(other)
    assert end not in tokenizer.encode("<|im_end|>")
    assert tokenizer.encode("<|im_end|>", parse_special=True) == [end]


def test_harmony_messages_end_without_ending_the_generation() -> None:
    texts = ("<|return|>", "<|call|>", "<|end|>", "<|channel|>", "<|message|>")
    tokenizer = with_tokens(*texts)
    assert tokenizer.eog_ids == ids_of(tokenizer, "<|return|>", "<|call|>")
    for text in ("<|end|>", "<|channel|>", "<|message|>"):
        token = tokenizer.find(text.encode())
        assert token is not None
        # Part of the output's structure: shown, but never read from a user's text.
        assert tokenizer.table.flag(token) == TokenFlag.USER_DEFINED
        assert token not in tokenizer.encode(text)
        assert tokenizer.encode(text, parse_special=True) == [token]
    assert with_tokens("<|end|>", "<|call|>").eog_ids == set(range(263, 265))


def test_ids_outside_the_vocabulary_are_ignored_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = with_tokens(eos_token_id=10_000, padding_token_id=2**32 - 1)
    assert tokenizer.eos_id is None
    assert tokenizer.pad_id is None
    assert "eos_token_id is 10000" in caplog.text
    assert "padding" not in caplog.text


def test_defaults_of_the_families() -> None:
    spm = Tokenizer(sentencepiece_metadata("bpe", bos_token_id=None, eos_token_id=None))
    assert (spm.bos_id, spm.eos_id, spm.unk_id, spm.add_bos, spm.add_eos) == (1, 2, 0, True, False)
    assert spm.newline_id is not None
    assert spm.token_bytes(spm.newline_id) == b"\n"
    bert = Tokenizer(wordpiece_metadata())
    assert (bert.bos_id, bert.eos_id, bert.sep_id, bert.pad_id, bert.mask_id, bert.newline_id) == (2, None, 3, 0, 4, 0)
    assert bert.eog_ids == {0}
    bpe = with_tokens()
    # A default is not put into prompts.
    assert (bpe.bos_id, bpe.eos_id, bpe.eog_ids) == (11, None, frozenset())
    assert bpe.declared_text("bos") == ""
    assert Tokenizer(byte_pair_metadata()).declared_text("bos") == "<|endoftext|>"
    assert Tokenizer(byte_pair_metadata("glm4", bos_token_id=None)).bos_id is None


@pytest.mark.parametrize(
    ("values", "lstrip", "phi3"),
    [
        ({"general.name": "Phi-3 mini"}, frozenset(), True),
        ({"general.name": "my Phi3"}, frozenset(), True),
        ({"tokenizer.ggml.pre": "jina-v2-de"}, {"<mask>"}, False),
        ({"general.architecture": "nomic-bert-moe"}, {"<mask>"}, False),
        ({"general.name": "modern-bert-base"}, {"[MASK]"}, False),
        ({"general.name": "llama"}, frozenset(), False),
    ],
)
def test_white_space_that_belongs_to_tokens_is_known_by_model(
    values: dict[str, str], lstrip: set[str], phi3: bool
) -> None:
    rule = find_strip_rule(VocabMetadata(values))
    assert rule.lstrip == lstrip
    assert (rule == PHI3) == phi3
