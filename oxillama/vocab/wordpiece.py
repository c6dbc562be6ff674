"""WordPiece vocabularies (BERT): text between special tokens becomes ids.

Normalisation follows llama.cpp (src/llama-vocab.cpp, ``llm_tokenizer_wpm_session``), which differs from BERT's own:
a character is replaced by the first of its canonical decomposition, and words may be of any length.
"""

from __future__ import annotations

import unicodedata

from oxillama.errors import ModelLoadError
from oxillama.vocab.metadata import VocabMetadata

WORD_START = "\u2581"
_STRETCH = 64 << 10
# CJK ideographs, each a word of its own. The odd 0x2B920 is in every implementation.
IDEOGRAPHS = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


class WordPieceEncoder:
    """Encodes text by the longest token that fits, word by word; a word that does not work out is the unknown token.

    Its own matching instead of the ``tokenizers`` library's: that one tries every length of a word and takes cubic
    time on long ones.
    """

    def __init__(self, metadata: VocabMetadata, unk: int | None) -> None:
        if unk is None:
            raise ModelLoadError("tokenizer.ggml.unknown_token_id: a WordPiece vocabulary needs one, found none")
        self.windows: tuple[str, ...] = ("spaces",)
        self._unk = unk
        texts = [text.decode("utf-8", "replace") for text in metadata.texts]
        self._longest = max(map(len, texts))
        self._starts = {text[1:]: token for token, text in enumerate(texts) if text.startswith(WORD_START)}
        self._inner = {text: token for token, text in enumerate(texts)}
        self._normalizer = Normalizer(lowercase=metadata.flag("normalizer.lowercase") is not False)

    def encode(self, text: str, *, after_special: bool) -> list[int]:
        """``after_special`` changes nothing for this family."""
        del after_special
        # One call for a long word would keep other threads waiting.
        stretches = (text[begin : begin + _STRETCH] for begin in range(0, len(text), _STRETCH))
        words = "".join(stretch.translate(self._normalizer) for stretch in stretches).split("\n")
        return [token for word in words if word for token in self._match(word)]

    def _match(self, word: str) -> list[int]:
        ids: list[int] = []
        vocab = self._starts
        start = 0
        while start < len(word):
            for end in range(min(len(word), start + self._longest), start, -1):
                token = vocab.get(word[start:end])
                if token is not None:
                    break
            else:
                return [self._unk]
            ids.append(token)
            start = end
            vocab = self._inner
        return ids


class Normalizer(dict[int, str]):
    """A ``str.translate`` table that fills itself: words end up separated by line feeds."""

    def __init__(self, *, lowercase: bool) -> None:
        super().__init__()
        self._lowercase = lowercase

    def __missing__(self, code_point: int) -> str:
        self[code_point] = normalized = self._normalize(unicodedata.normalize("NFD", chr(code_point))[0])
        return normalized

    def _normalize(self, char: str) -> str:
        category = unicodedata.category(char)
        if char.isspace() and char not in "\x1c\x1d\x1e\x1f":
            return "\n"
        if char in "\0\ufffd" or category in ("Cc", "Cf", "Co", "Cs") or category[0] == "M":
            return ""
        lower = char.lower() if self._lowercase else char
        word = lower if len(lower) == 1 else char
        code_point = ord(char)
        alone = category[0] == "P" or (code_point < 0x7F and category[0] == "S")
        if alone or any(first <= code_point <= last for first, last in IDEOGRAPHS):
            return f"\n{word}\n"
        return word
