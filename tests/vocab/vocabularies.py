"""Small vocabularies as GGUF metadata, made on the spot: no file of this repository or of anybody else is needed."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import sentencepiece

SENTENCES = [
    "Once upon a time there was a little girl who lived near the forest.",
    "The girl went to the market and bought apples, bread and milk!",
    "Numbers like 12345 or 3.14 are numbers; they're not letters.",
    "Größe, café, naïve, łódź. Привет мир. こんにちは世界。 😀😀",
    "def f(x):\n    return x ** 2  # comment\n\n\tdone",
]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6

# Byte -> character of GPT-2's alphabet.
PLAIN_BYTES = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
ALPHABET = {byte: chr(byte) for byte in PLAIN_BYTES} | {
    byte: chr(256 + n) for n, byte in enumerate(byte for byte in range(256) if byte not in PLAIN_BYTES)
}


@cache
def train_sentencepiece(algorithm: str) -> bytes:
    """A trained model file of SentencePiece, "bpe" as llama's or "unigram" as T5's."""
    out = io.BytesIO()
    unigram = algorithm == "unigram"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=out,
        model_type=algorithm,
        vocab_size=200 if unigram else 420,
        hard_vocab_limit=False,
        character_coverage=1.0,
        byte_fallback=not unigram,
        normalization_rule_name="nmt_nfkc" if unigram else "identity",
        remove_extra_whitespaces=unigram,
        user_defined_symbols=["<sep>"],
        minloglevel=2,
    )
    return out.getvalue()


def piece_type(processor: sentencepiece.SentencePieceProcessor, piece: int) -> int:
    if processor.is_unknown(piece):
        return UNKNOWN
    if processor.is_control(piece):
        return CONTROL
    if processor.is_byte(piece):
        return BYTE
    return USER_DEFINED if processor.id_to_piece(piece) == "<sep>" else NORMAL


def sentencepiece_metadata(algorithm: str, **changes: Any) -> dict[str, Any]:
    """What a converter writes for a trained model. ``changes`` are ``tokenizer.ggml.`` keys; None removes one."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=train_sentencepiece(algorithm))
    ids = range(processor.get_piece_size())
    values = {
        "model": "llama" if algorithm == "bpe" else "t5",
        "tokens": [processor.id_to_piece(i).encode() for i in ids],
        "scores": [processor.get_score(i) for i in ids],
        "token_type": [piece_type(processor, i) for i in ids],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
    }
    return metadata(values, changes)


def byte_pair_metadata(pre: str = "gpt-2", **changes: Any) -> dict[str, Any]:
    """All bytes, a few merges, and special tokens at the end."""
    texts = [ALPHABET[byte] for byte in range(256)]
    merges = []
    for left, right in [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("\u0120", "w"), ("1", "2"), ("12", "3")]:
        merges.append(f"{left} {right}")
        texts.append(left + right)
    types = [NORMAL] * len(texts) + [CONTROL, CONTROL, USER_DEFINED]
    texts += ["<|endoftext|>", "<|im_end|>", "<tool>"]
    values = {
        "model": "gpt2",
        "pre": pre,
        "tokens": [text.encode() for text in texts],
        "token_type": types,
        "merges": [merge.encode() for merge in merges],
        "bos_token_id": texts.index("<|endoftext|>"),
        "eos_token_id": texts.index("<|endoftext|>"),
    }
    return metadata(values, changes)


def wordpiece_metadata(**changes: Any) -> dict[str, Any]:
    """A BERT vocabulary of a few words."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [
        "\u2581un",
        "aff",
        "able",
        "\u2581hello",
        "\u2581,",
        "\u2581.",
        "\u2581a",
        "a",
        "\u2581\u4e2d",
        "\u2581cafe",
    ]
    values = {
        "model": "bert",
        "tokens": [text.encode() for text in [*specials, *words]],
        "token_type": [CONTROL, UNKNOWN, CONTROL, CONTROL, CONTROL] + [NORMAL] * len(words),
        "padding_token_id": 0,
        "unknown_token_id": 1,
        "cls_token_id": 2,
        "seperator_token_id": 3,
        "mask_token_id": 4,
    }
    return metadata(values, changes)


def metadata(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = {name: value for name, value in (values | changes).items() if value is not None}
    return {f"tokenizer.ggml.{name}": value for name, value in merged.items()}
