"""SentencePiece vocabularies: text between special tokens becomes ids through the ``sentencepiece`` library."""

from __future__ import annotations

import re
from collections.abc import Sequence

from oxillama.errors import ModelLoadError
from oxillama.vocab import sentencepiece_model as model
from oxillama.vocab.families import Family
from oxillama.vocab.metadata import VocabMetadata, as_list

_OVER_WORDS = re.compile(b"[A-Za-z]\xe2\x96\x81[A-Za-z]")


class SentencePieceEncoder:
    """Encodes text with a vocabulary of family SPM (byte-pair, by score) or Unigram.

    Raises ModelLoadError for a vocabulary that the library refuses.
    """

    def __init__(self, metadata: VocabMetadata, family: Family, unk: int | None) -> None:
        import sentencepiece

        unigram = family.name == "Unigram"
        # Unigram vocabularies put the first space behind their own white space rules.
        self._space_prefix = family.space_prefix and not unigram
        self.windows: tuple[str, ...] = ()
        texts = list(metadata.texts)
        self._num_tokens = len(texts)
        scores = metadata.scores
        types = metadata.types
        pieces = plain_pieces(
            texts,
            [0.0] * len(texts) if scores is None else as_list(scores),
            [model.NORMAL] * len(texts) if types is None else as_list(types),
            unk,
        )
        if unk is None:
            # The library insists on an unknown piece; encode() leaves it out again.
            pieces.append((b"<oxillama unknown>", 0.0, model.UNKNOWN))
        num_bytes = sum(kind == model.BYTE for _, _, kind in pieces)
        settings = model.ModelSettings(
            algorithm=model.UNIGRAM if unigram else model.BPE,
            unk_id=len(texts) if unk is None else unk,
            byte_fallback=num_bytes == 256,
            charsmap=read_charsmap(metadata) if unigram else b"",
            dummy_prefix=family.space_prefix and unigram,
            remove_extra_spaces=unigram and bool(metadata.flag("remove_extra_whitespaces")),
        )
        if settings.byte_fallback and not unigram and not any(map(_OVER_WORDS.search, texts)):
            # Merging never goes over the beginning of a word then, and a character is never unknown.
            self.windows = ("words",)
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model.write_model(pieces, settings))
        except (RuntimeError, ValueError, OSError) as error:
            raise ModelLoadError(f"the SentencePiece vocabulary is inconsistent: {str(error)[:200]}") from error

    def encode(self, text: str, *, after_special: bool) -> list[int]:
        """``after_special``: the text starts the input or follows a special token."""
        if self._space_prefix and after_special:
            text = " " + text
        ids: list[int] = self._processor.encode(text)
        return [token for token in ids if token < self._num_tokens]


def plain_pieces(
    texts: Sequence[bytes], scores: Sequence[float], types: Sequence[int], unk: int | None
) -> list[tuple[bytes, float, int]]:
    """The vocabulary as the library accepts it: unique, non-empty texts and exactly one unknown piece.

    User-defined tokens were cut out of the text before; what is left of them takes part in merging like any other.
    Of tokens with one text the last counts, as for other readers of the format.
    """
    last_of_text = {text: token for token, text in enumerate(texts)}
    last_of_text.pop(b"", None)
    pieces = []
    for token, (text, score, kind) in enumerate(zip(texts, scores, types, strict=True)):
        if last_of_text.get(text) != token:
            text, kind = f"<oxillama {token}>".encode(), model.CONTROL
        elif kind == model.USER_DEFINED or (kind == model.UNKNOWN and token != unk):
            kind = model.NORMAL if kind == model.USER_DEFINED else model.CONTROL
        elif not 1 <= kind <= 6:
            kind = model.UNUSED
        pieces.append((text, score, model.UNKNOWN if token == unk else kind))
    return pieces


def read_charsmap(metadata: VocabMetadata) -> bytes:
    charsmap = metadata.array("precompiled_charsmap")
    if charsmap is None:
        return b""
    try:
        return bytes(value & 0xFF for value in as_list(charsmap))
    except TypeError:
        raise ModelLoadError("tokenizer.ggml.precompiled_charsmap: expected an array of bytes") from None
