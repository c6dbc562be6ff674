"""Trains the demo model's SentencePiece vocabulary and encodes documents with it."""

from __future__ import annotations

import io
from pathlib import Path

import sentencepiece

from .corpus import CONTROL_TOKENS, END_TOKEN, ROLE_TOKENS, Document, documents, plain_texts
from .facts import NUMBERS
from .world import BOYS, COLOURS, FLOWERS, FOODS, GIRLS, PETS, SPECIES, THINGS

VOCAB_SIZE = 2048
TRAINING_DOCUMENTS = 20_000
UNK, BOS, EOS = 0, 1, 2

SLOT_WORDS = frozenset((*GIRLS, *BOYS, *PETS, *SPECIES, *COLOURS, *THINGS, *FOODS, *FLOWERS, *NUMBERS))
SLOT_WORDS |= frozenset(("he", "she", "him", "her", "his", "He", "She", "His", "Her", "girl", "boy"))
SLOT_WEIGHT = 3.0
SHORT_ANSWER, SHORT_ANSWER_WEIGHT = 40, 2.0


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
    """Encodes documents as (ids, weights): `weights[i]` is the share of token i in the loss, 0 for what is only read.

    Words that a template slot brings in (a name, a thing, a pronoun) weigh more: they are few, and a story falls apart
    when they are wrong. So do answers of up to SHORT_ANSWER tokens, which stories would drown.
    """

    def __init__(self, path: Path) -> None:
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self._roles = {role: self.pieces.piece_to_id(token) for role, token in ROLE_TOKENS.items()}
        self.end = self.pieces.piece_to_id(END_TOKEN)
        words = (self.pieces.id_to_piece(token).removeprefix("\u2581") for token in range(len(self.pieces)))
        self._weights = [SLOT_WEIGHT if word in SLOT_WORDS or word.isdigit() else 1.0 for word in words]

    def encode(self, item: Document) -> tuple[list[int], list[float]]:
        """Token ids of a document, BOS first, and their weights; what users and the system say weighs nothing."""
        if isinstance(item, str):
            ids = [BOS, *self.pieces.encode(item), EOS]
            return ids, [self._weights[token] for token in ids]
        ids, weights = [BOS], [1.0]
        for role, text in item:
            turn = [*self.pieces.encode(text), self.end]
            factor = (SHORT_ANSWER_WEIGHT if len(turn) <= SHORT_ANSWER else 1.0) * (role == "assistant")
            ids += [self._roles[role], *turn]
            weights += [0.0, *(factor * self._weights[token] for token in turn)]
        return ids, weights
