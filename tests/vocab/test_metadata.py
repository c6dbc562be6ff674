"""Tokenizer keys of a file: missing, of a wrong type, inconsistent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oxillama.errors import ModelLoadError, UnsupportedModelError
from oxillama.tokenizer import Tokenizer
from tests.vocab.vocabularies import byte_pair_metadata


@pytest.mark.parametrize("model", [None, "none", "no_vocab"])
def test_a_file_without_tokenizer_is_unsupported(model: str | None) -> None:
    with pytest.raises(UnsupportedModelError, match="has no tokenizer"):
        Tokenizer(byte_pair_metadata(model=model))


def test_unknown_families_and_pre_tokenizers_are_named() -> None:
    with pytest.raises(UnsupportedModelError, match="'plamo2'"):
        Tokenizer(byte_pair_metadata(model="plamo2"))
    with pytest.raises(UnsupportedModelError, match="'no-such-rule'"):
        Tokenizer(byte_pair_metadata("no-such-rule"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": 1}, "tokenizer.ggml.model: expected a string, found int"),
        ({"pre": ["x"]}, "tokenizer.ggml.pre: expected a string, found list"),
        ({"tokens": None}, "tokenizer.ggml.tokens: expected an array of strings, found none"),
        ({"tokens": []}, "tokenizer.ggml.tokens: expected an array of strings, found none"),
        ({"tokens": "x"}, "tokenizer.ggml.tokens: expected an array, found str"),
        ({"tokens": [1, 2]}, "tokenizer.ggml.tokens: expected strings, found int"),
        ({"token_type": [1]}, "tokenizer.ggml.token_type has 1 entries, but tokenizer.ggml.tokens has 266"),
        ({"token_type": np.ones(266, np.float32)}, "tokenizer.ggml.token_type: expected integers, found 'f'"),
        (
            {"token_type": np.full(266, 2**63, np.uint64)},
            "tokenizer.ggml.token_type: expected 32-bit numbers, found 9223372036854775808",
        ),
        ({"token_type": 3}, "tokenizer.ggml.token_type: expected an array, found int"),
        ({"eos_token_id": "x"}, "tokenizer.ggml.eos_token_id: expected an integer, found str"),
        ({"eos_token_id": True}, "tokenizer.ggml.eos_token_id: expected an integer, found bool"),
        ({"add_bos_token": 1}, "tokenizer.ggml.add_bos_token: expected a boolean, found int"),
    ],
)
def test_wrong_values_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelLoadError) as error:
        Tokenizer(byte_pair_metadata(**changes))
    assert str(error.value) == message


def test_merges_of_a_wrong_type_are_refused() -> None:
    with pytest.raises(ModelLoadError, match=r"merges: expected strings, found int"):
        Tokenizer(byte_pair_metadata(merges=[1])).prepare()


def test_arrays_may_be_numpy() -> None:
    types = np.array(byte_pair_metadata()["tokenizer.ggml.token_type"], np.int32)
    assert Tokenizer(byte_pair_metadata(token_type=types)).encode("hello")
