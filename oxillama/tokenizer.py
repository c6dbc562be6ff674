"""Text to token ids and back, from the vocabulary inside a GGUF file. Chat templates and generation are elsewhere."""

from __future__ import annotations

import operator
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Set
from itertools import pairwise
from typing import Any, Protocol, Self

from oxillama._core.output.vocab import TokenFlag, TokenTable
from oxillama.errors import ContextLengthError, InvalidRequestError
from oxillama.gguf import GGUFFile
from oxillama.vocab.cleanup import clean_spaces
from oxillama.vocab.families import Family, find_family
from oxillama.vocab.length_bound import LengthBound
from oxillama.vocab.metadata import VocabMetadata
from oxillama.vocab.partition import Partition
from oxillama.vocab.special import SpecialTokens, find_special_tokens
from oxillama.vocab.special_text import special_texts
from oxillama.vocab.windows import Windows

# Characters. Shorter texts are encoded to their end, so that an error can say how many tokens they have.
COUNTED = 64 << 10


class TextEncoder(Protocol):
    """Encodes the text between special tokens. ``windows``: where it may be cut, see ``Windows``."""

    @property
    def windows(self) -> tuple[str, ...]: ...
    def encode(self, text: str, *, after_special: bool) -> list[int]: ...


class Tokenizer:
    """The tokenizer of a GGUF model, also of a vocabulary-only file.

    Looking up the bytes of a token is ready at once; the text encoder is built when text is first encoded. Methods
    may be called from several threads. Nothing changes it, so a copy is the tokenizer itself; a pickle carries the
    vocabulary, and what arrives in another process is built there.

        tokenizer = Tokenizer.from_gguf("model.gguf")
        ids = tokenizer.encode("Hello world")
        tokenizer.decode(ids)
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        """From GGUF metadata: strings as ``str``, arrays of strings as sequences of ``bytes``.

        Raises UnsupportedModelError for a file without tokenizer, or with a family or pre-tokenizer that this version
        does not know, and ModelLoadError for inconsistent metadata.
        """
        self._metadata = VocabMetadata(metadata)
        self._family = find_family(self._metadata)
        self._table = TokenTable(self._metadata.texts, self._metadata.types, byte_level=self._family.byte_level)
        if self._family.name in ("SPM", "Unigram"):
            self._metadata.check_scores()
        self._specials = find_special_tokens(self._metadata, self._family, self._table)
        self._table.build_index()
        self._partition: Partition | None = None
        self._encoder: TextEncoder | None = None
        self._windows = Windows()
        self._bound: LengthBound | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_gguf(cls, source: str | os.PathLike[str] | GGUFFile) -> Self:
        """From a GGUF file, given by path or already open."""
        if isinstance(source, GGUFFile):
            return cls(source.metadata)
        with GGUFFile(source) as file:
            return cls(file.metadata)

    def prepare(self) -> None:
        """Build the text encoder now instead of at the first ``encode``: 0.1 to 1 s for large vocabularies.

        Raises ModelLoadError when the vocabulary is inconsistent in a way that only encoding needs.
        """
        self._text_encoder()

    def encode(
        self, text: str, *, add_special: bool = True, parse_special: bool = False, limit: int | None = None
    ) -> list[int]:
        """The token ids of ``text``.

        ``add_special`` adds what the model expects around a text (begin-of-text, separator ...). ``parse_special``
        recognises control tokens written in the text; user-defined tokens always are.

        ``limit`` spares the work on texts that are far too long; it bounds no result: one of a few tokens more may come
        back, and texts of up to ``COUNTED`` characters are not counted at all.

        Raises InvalidRequestError (``param="text"``) for text with lone surrogates, and ContextLengthError once it is
        certain that a long text has more than ``limit`` tokens: from its bytes, before it is encoded, or on the way.
        """
        check_text(text)
        limit = limit if len(text) > COUNTED else None
        self.check_length(text, limit)
        _, partition = self._text_encoder()
        specials, family = self._specials, self._family
        ids = []
        if add_special and family.add_bos and specials.bos is not None:
            ids.append(specials.bos)
        ids += self._encode_pieces(partition.split(text, parse_special=parse_special), limit=limit)
        if add_special:
            ids += self._closing_ids()
        return ids

    def encode_parsed(
        self, text: str, plain: Callable[[str], str], *, broken: Set[str] = frozenset(), limit: int | None = None
    ) -> list[int]:
        """The ids of a text whose special tokens are recognised as it stands, while `plain` of what is between them
        is encoded as ordinary text.

        A text that has control tokens broken by some mark, which `plain` removes, gets no ids of these, nor of the
        user-defined tokens of the texts ``broken``. ``limit``: as for ``encode``, but the bytes are not looked at."""
        check_text(text)
        limit = limit if len(text) > COUNTED else None
        _, partition = self._text_encoder()
        pieces: list[str | int] = []
        for piece in partition.split(text, parse_special=True):
            # Removing marks may bring user-defined tokens together, which count in ordinary text too.
            pieces += (
                [piece]
                if isinstance(piece, int)
                else partition.split(plain(piece), parse_special=False, except_for=broken)
            )
        return self._encode_pieces(pieces, broken, limit=limit)

    def least_tokens(self, text: str) -> int:
        """How many tokens ``text`` has at least, told from its bytes in little time. 0 for vocabularies that normalise
        the text before (WordPiece, Unigram): there any text may become a single token."""
        with self._lock:
            if self._bound is None:
                specials = special_texts(self._metadata, self._table, self._specials)
                self._bound = LengthBound(self._family, self._table, self._metadata.texts, specials)
        return self._bound.least(text)

    def check_length(self, text: str, limit: int | None) -> None:
        """Raises ContextLengthError for a text that certainly has more than ``limit`` tokens."""
        if limit is not None and len(text) > COUNTED and (least := self.least_tokens(text)) > limit:
            raise _too_many(least, limit)

    def control_texts(self) -> frozenset[str]:
        """The texts that `encode` recognises as a token with `parse_special` only."""
        texts = special_texts(self._metadata, self._table, self._specials)
        return frozenset(special.text for special in texts if not special.always)

    def user_defined_texts(self) -> frozenset[str]:
        """The texts that `encode` recognises as a token wherever they stand."""
        texts = special_texts(self._metadata, self._table, self._specials)
        return frozenset(special.text for special in texts if special.always)

    def decode(self, ids: Iterable[int], *, skip_special: bool = False) -> str:
        """The text of ``ids``; bytes that are no valid UTF-8 become U+FFFD. Raises like ``decode_bytes``."""
        return self.decode_bytes(ids, skip_special=skip_special).decode("utf-8", "replace")

    def decode_bytes(self, ids: Iterable[int], *, skip_special: bool = False) -> bytes:
        """The text of ``ids`` as bytes, without control and unknown tokens if ``skip_special``.

        What encoding adds is taken away again: the first space of vocabularies that put one before a text, and the
        spaces before punctuation of those that lose them. Generated text is not decoded this way, because it
        continues a prompt: there the bytes of its tokens are simply joined.

        Raises InvalidRequestError (``param="ids"``) for an id outside the vocabulary.
        """
        tokens = [self._checked(token) for token in ids]
        if skip_special:
            flags = self._table.flags
            tokens = [token for token in tokens if not flags[token] & TokenFlag.HIDDEN]
        text = self._table.join(tokens)
        if self._family.space_prefix and tokens and self._table[tokens[0]].startswith(b" "):
            text = text[1:]
        return clean_spaces(text) if self._family.clean_spaces else text

    def token_bytes(self, token: int) -> bytes:
        """What a token writes; InvalidRequestError for an id outside the vocabulary."""
        return self._table[self._checked(token)]

    def find(self, piece: bytes) -> int | None:
        """The token that writes exactly these bytes, or None; a text token rather than a byte or control token."""
        return self._table.find(piece)

    def is_control(self, token: int) -> bool:
        """Whether a token writes nothing into generated text (control and unknown tokens)."""
        return bool(self._table.flags[self._checked(token)] & TokenFlag.HIDDEN)

    def is_eog(self, token: int) -> bool:
        """Whether a token ends a generation."""
        return token in self._specials.eog

    def declared_text(self, name: str) -> str:
        """The text of the special token ``name`` ("bos", "eos" ...) if the file names that token, else "".

        Chat templates get this as ``bos_token`` and ``eos_token``: an id that is only the format's default must not
        be written into a prompt.
        """
        token = getattr(self._specials, name)
        if token is None or name not in self._specials.declared:
            return ""
        return self._table[token].decode("utf-8", "replace")

    @property
    def n_vocab(self) -> int:
        """Number of tokens in the vocabulary; a model's output may be wider."""
        return len(self._table)

    @property
    def table(self) -> TokenTable:
        """The bytes of all tokens, for text streams and constrained sampling."""
        return self._table

    @property
    def specials(self) -> SpecialTokens:
        """The ids of all special tokens."""
        return self._specials

    @property
    def bos_id(self) -> int | None:
        """Begin of text."""
        return self._specials.bos

    @property
    def eos_id(self) -> int | None:
        """End of text."""
        return self._specials.eos

    @property
    def eot_id(self) -> int | None:
        """End of a turn."""
        return self._specials.eot

    @property
    def eom_id(self) -> int | None:
        """End of a message that waits for a tool."""
        return self._specials.eom

    @property
    def unk_id(self) -> int | None:
        """Unknown text."""
        return self._specials.unk

    @property
    def sep_id(self) -> int | None:
        """Separator of two texts."""
        return self._specials.sep

    @property
    def pad_id(self) -> int | None:
        """Padding."""
        return self._specials.pad

    @property
    def mask_id(self) -> int | None:
        """Masked word."""
        return self._specials.mask

    @property
    def newline_id(self) -> int | None:
        """Line feed."""
        return self._specials.newline

    @property
    def eog_ids(self) -> frozenset[int]:
        """All tokens that end a generation."""
        return self._specials.eog

    @property
    def add_bos(self) -> bool:
        """Whether ``add_special`` puts begin-of-text first."""
        return self._family.add_bos

    @property
    def add_eos(self) -> bool:
        """Whether ``add_special`` puts end-of-text last."""
        return self._family.add_eos

    @property
    def add_sep(self) -> bool:
        """Whether ``add_special`` puts the separator last."""
        return self._family.add_sep

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._metadata.source,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<Tokenizer {self._family.name}, {self.n_vocab} tokens>"

    def _encode_pieces(
        self, pieces: Iterable[str | int], broken: Set[str] = frozenset(), *, limit: int | None = None
    ) -> list[int]:
        encoder, _ = self._text_encoder()
        unwanted = {token for text in broken if (token := self._table.find(text.encode())) is not None}
        ids: list[int] = []
        after_special = True
        for piece in pieces:
            if limit is not None and len(ids) > limit:
                raise _too_many(len(ids), limit)
            if isinstance(piece, int):
                ids.append(piece)
                after_special = True
                continue
            for window in self._windows.cut(piece):
                if limit is not None and len(ids) > limit:
                    raise _too_many(len(ids), limit)
                found = encoder.encode(window, after_special=after_special)
                if not unwanted.isdisjoint(found):
                    found = self._encode_cut(window, broken, after_special)
                ids += found
                after_special = False
        return ids

    def _encode_cut(self, text: str, broken: Set[str], after_special: bool) -> list[int]:
        """As `encode` of the family, but no token reaches over the first character of any of the texts ``broken``."""
        encoder, _ = self._text_encoder()
        cuts = {match.start() + 1 for one in broken if len(one) > 1 for match in re.finditer(re.escape(one), text)}
        places = [0, *sorted(cuts), len(text)]
        parts = [text[begin:end] for begin, end in pairwise(places) if begin < end]
        return [
            token
            for index, part in enumerate(parts)
            for token in encoder.encode(part, after_special=after_special and index == 0)
        ]

    def _closing_ids(self) -> list[int]:
        specials, family = self._specials, self._family
        if family.name == "WordPiece":
            # BERT texts always end in the separator, whatever the file says of add_eos and add_sep.
            return [] if specials.sep is None else [specials.sep]
        return [specials.eos] if family.add_eos and specials.eos is not None else []

    def _checked(self, token: int) -> int:
        try:
            index = operator.index(token)
        except TypeError:
            raise InvalidRequestError(f"a token id is an integer, found {type(token).__name__}", param="ids") from None
        if not 0 <= index < len(self._table):
            raise InvalidRequestError(f"token id {index} is outside the vocabulary of {self.n_vocab}", param="ids")
        return index

    def _text_encoder(self) -> tuple[TextEncoder, Partition]:
        with self._lock:
            if self._encoder is None or self._partition is None:
                self._partition = Partition(special_texts(self._metadata, self._table, self._specials))
                encoder = build_encoder(self._metadata, self._family, self._table, self._specials)
                self._windows = Windows(*encoder.windows)
                self._encoder = encoder
            return self._encoder, self._partition


def build_encoder(metadata: VocabMetadata, family: Family, table: TokenTable, specials: SpecialTokens) -> TextEncoder:
    # Imported here: these modules load large libraries, which looking up bytes does not need.
    if family.pre_tokenizer is not None:
        from oxillama.vocab.bpe import BytePairEncoder

        return BytePairEncoder(metadata, family.pre_tokenizer, table)
    if family.name == "WordPiece":
        from oxillama.vocab.wordpiece import WordPieceEncoder

        return WordPieceEncoder(metadata, specials.unk)
    if family.name == "RWKV":
        from oxillama.vocab.rwkv import LongestMatchEncoder

        return LongestMatchEncoder(table, specials.unk)
    from oxillama.vocab.spm import SentencePieceEncoder

    return SentencePieceEncoder(metadata, family, specials.unk)


def _too_many(least: int, limit: int) -> ContextLengthError:
    return ContextLengthError(
        f"the text has at least {least} tokens, {limit} are allowed",
        n_prompt_tokens=least,
        n_ctx=limit,
        param="text",
        at_least=True,
    )


def check_text(text: str) -> None:
    if not isinstance(text, str):
        raise InvalidRequestError(f"text must be a str, found {type(text).__name__}", param="text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"text must be valid Unicode, found a lone surrogate at index {error.start}", param="text"
        ) from None
