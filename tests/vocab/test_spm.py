"""SPM and Unigram vocabularies against the SentencePiece models they were taken from."""

from __future__ import annotations

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from oxillama.errors import ModelLoadError
from oxillama.tokenizer import Tokenizer
from tests.vocab.vocabularies import BYTE, CONTROL, NORMAL, UNKNOWN, sentencepiece_metadata, train_sentencepiece

BPE = Tokenizer(sentencepiece_metadata("bpe"))
BPE_REFERENCE = sentencepiece.SentencePieceProcessor(model_proto=train_sentencepiece("bpe"))
# Spelt as in the training text, anything else, and the characters that mean something to SentencePiece.
texts = st.lists(
    st.sampled_from(
        [
            "the",
            "girl",
            " ",
            "  ",
            "\u2581",
            "caf\u00e9",
            "12",
            "\n",
            "\0",
            "\U0001f600",
            "\u65e5",
            "<s>",
            "</s>",
            "<0x41>",
        ]
    )
    | st.text(max_size=5)
).map("".join)


@given(texts)
def test_ids_equal_those_of_the_trained_model(text: str) -> None:
    assert BPE.encode(text, add_special=False) == (BPE_REFERENCE.encode(text) if text else [])


@given(texts)
def test_decoding_gives_the_text_back(text: str) -> None:
    decoded = text.replace("\u2581", " ")
    assert BPE.decode(BPE.encode(text, add_special=False)) == decoded
    assert BPE.decode(BPE.encode(text), skip_special=True) == decoded


def test_a_control_token_in_ordinary_text_stays_text() -> None:
    assert not {0, 1, 2} & set(BPE.encode("<s></s><unk>", add_special=False))
    assert BPE.encode("<s></s>", add_special=False, parse_special=True) == [1, 2]


def test_text_after_a_special_token_starts_with_a_space() -> None:
    word = BPE.encode("girl", add_special=False)
    assert BPE.encode("girl<s>girl", parse_special=True) == [1, *word, 1, *word]
    bare = Tokenizer(sentencepiece_metadata("bpe", add_space_prefix=False))
    assert bare.decode(bare.encode("girl", add_special=False)) == "girl"
    assert bare.encode(" girl", add_special=False) == word


def test_user_defined_tokens_are_found_in_ordinary_text() -> None:
    sep = BPE.find(b"<sep>")
    assert sep is not None
    assert BPE.encode("a<sep>b", add_special=False).count(sep) == 1


@pytest.mark.parametrize(
    "text", ["", " ", "girl", "the  girl \u2460 \ufb01ne", "\u3000wide\u3000", "gr\u00f6\u00dfe\n<sep> x"]
)
def test_unigram_ids_equal_those_of_the_trained_model(text: str) -> None:
    model = train_sentencepiece("unigram")
    reference = sentencepiece.SentencePieceProcessor(model_proto=model)
    tokenizer = Tokenizer(
        sentencepiece_metadata(
            "unigram",
            precompiled_charsmap=list(find_charsmap(model)),
            add_space_prefix=True,
            remove_extra_whitespaces=True,
        )
    )
    if "<sep>" not in text:
        assert tokenizer.encode(text, add_special=False) == reference.encode(text)
    assert tokenizer.encode(text)[-1:] == [2]


def find_charsmap(model: bytes) -> bytes:
    """NormalizerSpec (field 3 of the model), precompiled_charsmap (its field 2)."""
    return protobuf_fields(protobuf_fields(model)[3])[2]


def protobuf_fields(message: bytes) -> dict[int, bytes]:
    """The last length-delimited value of each field."""
    position, fields = 0, {}

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        key = varint()
        if key & 7 == 0:
            varint()
        elif key & 7 == 5:
            position += 4
        else:
            length = varint()
            fields[key >> 3] = message[position : position + length]
            position += length
    return fields


def test_duplicate_and_empty_texts_are_put_up_with() -> None:
    texts = [b"<unk>", b"a", b"b", b"ab", b"", b"ab", b""]
    tokenizer = Tokenizer(
        {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": texts,
            "tokenizer.ggml.scores": [0.0, -2.0, -3.0, -1.0, -4.0, -1.0, -5.0],
            "tokenizer.ggml.token_type": [UNKNOWN] + [NORMAL] * 6,
            "tokenizer.ggml.add_space_prefix": False,
        }
    )
    # The last token of a text counts.
    assert tokenizer.encode("ab", add_special=False) == [5]
    assert tokenizer.encode("xyz", add_special=False) == [0]


def test_without_unknown_token_and_bytes_foreign_text_disappears() -> None:
    tokenizer = Tokenizer(
        {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": [b"<s>", b"\xe2\x96\x81", b"a"],
            "tokenizer.ggml.token_type": [CONTROL, NORMAL, NORMAL],
            "tokenizer.ggml.unknown_token_id": 2**32 - 1,
        }
    )
    assert tokenizer.encode("a?a", add_special=False) in ([1, 2, 2], [1, 2])


def test_inconsistent_scores_are_refused() -> None:
    scores = sentencepiece_metadata("bpe")["tokenizer.ggml.scores"]
    with pytest.raises(ModelLoadError, match="scores has 3 entries"):
        Tokenizer(sentencepiece_metadata("bpe", scores=scores[:3]))
    with pytest.raises(ModelLoadError, match="NaN at index 7"):
        Tokenizer(sentencepiece_metadata("bpe", scores=[*scores[:7], float("nan"), *scores[8:]]))
    with pytest.raises(ModelLoadError, match=r"scores: expected numbers"):
        Tokenizer(sentencepiece_metadata("bpe", scores=[b"x"] * len(scores)))


def test_byte_pieces_that_are_not_complete_fall_back_to_unknown() -> None:
    base = sentencepiece_metadata("bpe")
    types = base["tokenizer.ggml.token_type"]
    kept = [i for i, kind in enumerate(types) if kind != BYTE]
    tokenizer = Tokenizer(
        sentencepiece_metadata(
            "bpe",
            tokens=[base["tokenizer.ggml.tokens"][i] for i in kept],
            scores=[base["tokenizer.ggml.scores"][i] for i in kept],
            token_type=[types[i] for i in kept],
        )
    )
    assert 0 in tokenizer.encode("\u2603", add_special=False)
