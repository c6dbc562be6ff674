"""Trains the demo model's SentencePiece vocabulary and encodes documents with it."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece

from .corpus import CONTROL_TOKENS, END_TOKEN, ROLE_TOKENS, Document, documents, plain_texts

VOCAB_SIZE = 2048
TRAINING_DOCUMENTS = 20_000
UNK, BOS, EOS = 0, 1, 2


def train_tokenizer(path: Path, *, vocab_size: int = VOCAB_SIZE, num_documents: int = TRAINING_DOCUMENTS) -> None:
    """Write a BPE SentencePiece model with byte fallback to `path`.

    BPE, because a GGUF "llama" tokenizer merges pairs by score, which is what SentencePiece does with a BPE model. No
    space is put before the text, so that a chat turn starts the same way in every implementation.
    """
    lines = (
        line for item in documents(num_documents) for text in plain_texts(item) for line in text.split("\n")
    )  # fmt: skip
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        character_coverage=1.0,
        control_symbols=list(CONTROL_TOKENS),
        unk_id=UNK,
        bos_id=BOS,
        eos_id=EOS,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


class DocumentEncoder:
    """Encodes documents as (ids, learn): `learn[i]` says whether token i is one the model must predict."""

    def __init__(self, path: Path) -> None:
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self._roles = {role: self.pieces.piece_to_id(token) for role, token in ROLE_TOKENS.items()}
        self.end = self.pieces.piece_to_id(END_TOKEN)

    def encode(self, item: Document) -> tuple[list[int], list[bool]]:
        """Token ids of a document, BOS first. What a user or the system says is read but not learnt."""
        if isinstance(item, str):
            ids = [BOS, *self.pieces.encode(item), EOS]
            return ids, [True] * len(ids)
        ids, learn = [BOS], [True]
        for role, text in item:
            turn = [self._roles[role], *self.pieces.encode(text), self.end]
            ids += turn
            learn += [False] + [role == "assistant"] * (len(turn) - 1)
        return ids, learn
