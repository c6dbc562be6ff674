"""Byte-pair vocabularies: text between special tokens becomes ids through the ``tokenizers`` library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from oxillama._core.output.vocab import TokenFlag, TokenTable
from oxillama.errors import InvalidRequestError, ModelLoadError
from oxillama.vocab.metadata import VocabMetadata
from oxillama.vocab.pretokenizers import PreTokenizer

# A text of so many characters takes some milliseconds, during which `encode` keeps the interpreter to itself.
_SHORT = 4 << 10


class _Process:
    """Whether this process has no threads of the library's, where `encode_batch_fast` works: a child of a fork, as they
    stay behind and not every version of the library looks, or one whose system refused them."""

    is_alone = False


def _go_on_alone() -> None:
    _Process.is_alone = True


os.register_at_fork(after_in_child=_go_on_alone)


class BytePairEncoder:
    """Encodes text with merges over GPT-2's byte alphabet, or over characters where the pre-tokenizer says so.

    Raises ModelLoadError when a merge names a text that is no token.
    """

    def __init__(self, metadata: VocabMetadata, pre_tokenizer: PreTokenizer, table: TokenTable) -> None:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

        texts = [text.decode("utf-8", "replace") for text in metadata.texts]
        vocab = {text: token for token, text in enumerate(texts)}
        merges = read_merges(metadata.merges)
        drop_unreachable_specials(vocab, merges, table)
        byte_level = pre_tokenizer.byte_level
        try:
            model = models.BPE(vocab, merges, ignore_merges=pre_tokenizer.ignore_merges, byte_fallback=not byte_level)
        except Exception as error:
            raise ModelLoadError(f"{first_bad_merge(merges, vocab)} ({str(error)[:200]})") from None
        self._encoder = Tokenizer(model)
        words = word_splitter(pre_tokenizer)
        if byte_level:
            as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
            words = pre_tokenizers.Sequence([words, as_bytes])
        else:
            self._encoder.normalizer = normalizers.Replace(" ", "\u2581")
        self._encoder.pre_tokenizer = words
        self.windows: tuple[str, ...] = pre_tokenizer.windows

    def encode(self, text: str, *, after_special: bool) -> list[int]:
        """``after_special`` changes nothing for this family."""
        del after_special
        try:
            ids: list[int] = self._encode(text).ids
        except BaseException as error:
            # The regular expression engine gives up on some texts by a Rust panic, which is no Exception.
            if not is_panic(error):
                raise
            raise InvalidRequestError(
                f"the text of {len(text)} characters cannot be cut into words: {error}", param="text"
            ) from None
        return ids

    def _encode(self, text: str) -> Any:
        if len(text) > _SHORT and not _Process.is_alone:
            try:
                # Alone among the library's calls these let other threads run meanwhile.
                return self._encoder.encode_batch_fast([text], add_special_tokens=False)[0]
            except BaseException as error:
                if not is_panic(error) or "thread pool" not in str(error):
                    raise
            # It says so once, and never tries again.
            _go_on_alone()
        return self._encoder.encode(text, add_special_tokens=False)


def is_panic(error: BaseException) -> bool:
    """A failure of the library's Rust code, which is no Exception and has no name to import."""
    return type(error).__name__ == "PanicException"


def word_splitter(pre_tokenizer: PreTokenizer) -> Any:
    """The library's pre-tokenizer that cuts a text into words, all of them parts of the text."""
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in pre_tokenizer.patterns]
    )


def read_merges(merges: Sequence[bytes]) -> list[tuple[str, str]]:
    pairs = []
    for merge in merges:
        text = merge.decode("utf-8", "replace")
        left, _, right = text.partition(" ")
        if not left:
            # A token may itself begin with a space.
            left, _, right = text[1:].partition(" ")
            left = text[:1] + left
        pairs.append((left, right))
    return pairs


def first_bad_merge(merges: list[tuple[str, str]], vocab: dict[str, int]) -> str:
    for rank, (left, right) in enumerate(merges):
        for part in (left, right, left + right):
            if part not in vocab:
                merge = f"{left[:80]!r} + {right[:80]!r}"
                return f"tokenizer.ggml.merges[{rank}] is {merge}, but {part[:80]!r} is no token"
    return "the merges do not fit the vocabulary"


def drop_unreachable_specials(vocab: dict[str, int], merges: list[tuple[str, str]], table: TokenTable) -> None:
    """Takes control tokens out of the vocabulary, so that no ordinary text becomes one, unless a merge makes it."""
    hidden = set(table.flagged(TokenFlag.HIDDEN))
    unreachable = {text for text, token in vocab.items() if token in hidden and len(text) > 1}
    for pair in merges:
        unreachable.discard("".join(pair))
    for text in unreachable:
        del vocab[text]
