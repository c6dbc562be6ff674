"""The grammar engine of this process: llguidance by its C functions, or by its Python classes where those are missing.

It is looked for once, at the first grammar, and tried on a small vocabulary before it is trusted.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Sequence
from typing import Any, Protocol

from oxillama._core.constraint import Constraint
from oxillama._core.output.vocab import TokenTable
from oxillama._core.structured.guide import CompiledGrammar, GuideVocabulary
from oxillama._core.structured.llguidance import Library
from oxillama._core.structured.python_guide import PythonGuide
from oxillama.errors import GrammarError
from oxillama.structured.self_test import fault_of

# Versions that are known to fit, and how to get one. Those before let a key of an object have a second spelling, so
# that a value of any type could stand under a name that a schema gives one.
OLDEST, BEFORE = (1, 9, 1), (2,)
INSTALL = "pip install 'llguidance>=1.9.1,<2'"


class Compiled(Protocol):
    def guide(self) -> Constraint:
        """The constraint of one sequence, at its beginning."""


class Vocabulary(Protocol):
    def compile(self, kind: str, text: str, limits: dict[str, int]) -> Compiled:
        """Raises ValueError with the engine's reason."""

    def tokenize(self, text: bytes) -> list[int]:
        """What forced text is cut into."""


class Backend(Protocol):
    @property
    def name(self) -> str: ...
    def vocabulary(self, table: TokenTable, n_vocab: int, end_tokens: Sequence[int]) -> Vocabulary: ...


class LibraryVocabulary:
    def __init__(self, vocabulary: GuideVocabulary) -> None:
        self._vocabulary = vocabulary

    def compile(self, kind: str, text: str, limits: dict[str, int]) -> CompiledGrammar:
        return CompiledGrammar(self._vocabulary, kind, text, limits)

    def tokenize(self, text: bytes) -> list[int]:
        return self._vocabulary.tokenize(text)


class LibraryBackend:
    """The exported C functions: no GIL."""

    def __init__(self, path: str) -> None:
        self._library = Library(path)
        self.name: str = f"llguidance {self._library.version} (C)"

    def vocabulary(self, table: TokenTable, n_vocab: int, end_tokens: Sequence[int]) -> LibraryVocabulary:
        return LibraryVocabulary(GuideVocabulary(self._library, table, n_vocab, end_tokens))


class PythonCompiled:
    def __init__(self, matcher: Any, n_vocab: int, n_tokens: int) -> None:
        self._matcher, self._n_vocab, self._n_tokens = matcher, n_vocab, n_tokens

    def guide(self) -> PythonGuide:
        return PythonGuide(self._matcher, self._n_vocab, self._n_tokens)


class PythonVocabulary:
    """As `GuideVocabulary` says: control tokens begin with 0xFF, one token more stands for what cannot be written."""

    bos_token_id = None

    def __init__(self, module: Any, table: TokenTable, n_vocab: int, end_tokens: Sequence[int]) -> None:
        self._module = module
        self._n_vocab = n_vocab
        self._table = table
        ends = [token for token in end_tokens if 0 <= token < n_vocab]
        hidden = {token for token in table.flagged(6) if token < n_vocab}
        marked = {token for token in range(min(len(table), n_vocab)) if table[token][:1] == b"\xff"}
        self._special = hidden | marked | set(ends)
        self.tokens: list[bytes] = [
            self._marked(token) if token in self._special else table[token] if token < len(table) else b""
            for token in range(n_vocab)
        ]
        self.tokens.append(b"\xff\xff\xff")
        self._by_text: dict[bytes, int] = {}
        for token in sorted(range(min(len(table), n_vocab)), key=lambda token: bool(table.flags[token] & 32)):
            if token not in self._special and table[token]:
                self._by_text.setdefault(table[token], token)
        self.special_token_ids: list[int] = sorted(self._special)
        self.eos_token_id: int = ends[0] if ends else n_vocab
        self._tokenizer = module.LLTokenizer(
            module.TokenizerWrapper(self), n_vocab=n_vocab + 1, eos_token=ends or [n_vocab]
        )

    def _marked(self, token: int) -> bytes:
        text = self._table[token]
        return b"\xff" + text if text and text[:1] != b"\xff" else b"\xff\xff%d" % token

    def __call__(self, text: bytes) -> list[int]:
        found, place, text = [], 0, text[:4096]
        while place < len(text):
            for end in range(min(len(text), place + self._table.longest), place, -1):
                token = self._by_text.get(text[place:end])
                if token is not None:
                    found.append(token)
                    place = end
                    break
            else:
                found.append(self._n_vocab)
                break
        return found

    def tokenize(self, text: bytes) -> list[int]:
        return self(text)

    def compile(self, kind: str, text: str, limits: dict[str, int]) -> PythonCompiled:
        matcher_class = self._module.LLMatcher
        makers = {
            "json_schema": matcher_class.grammar_from_json_schema,
            "regex": matcher_class.grammar_from_regex,
            "lark": matcher_class.grammar_from_lark,
        }
        if "\0" in text:
            raise ValueError("the grammar contains a NUL character; write it as an escape")
        matcher = matcher_class(
            self._tokenizer,
            makers[kind](text),
            log_level=0,
            limits=self._module.LLParserLimits(**limits, verbose_errors=False),
        )
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return PythonCompiled(matcher, self._n_vocab, self._n_vocab + 1)


class PythonBackend:
    """The Python classes: every mask and token waits for the GIL."""

    def __init__(self, module: Any, version: str, reason: str) -> None:
        self._module = module
        self.name: str = f"llguidance {version} (Python, with the GIL: {reason})"

    def vocabulary(self, table: TokenTable, n_vocab: int, end_tokens: Sequence[int]) -> PythonVocabulary:
        return PythonVocabulary(self._module, table, n_vocab, end_tokens)


def python_backend(reason: str) -> PythonBackend:
    """The fallback, with what is wrong with the C functions."""
    import llguidance

    return PythonBackend(llguidance, importlib.metadata.version("llguidance"), reason)


def library_backend() -> LibraryBackend:
    """Raises LookupError where functions are missing, or do something else than they should."""
    import llguidance._lib

    backend = LibraryBackend(llguidance._lib.__file__)
    if (fault := fault_of(backend)) is not None:
        raise LookupError(fault)
    return backend


@functools.cache
def grammar_backend() -> Backend:
    """Raises GrammarError where there is none, with what to install."""
    try:
        version = importlib.metadata.version("llguidance")
        import llguidance  # noqa: F401
    except ImportError as error:
        raise GrammarError(
            f"grammars need the package llguidance, which is not installed ({INSTALL})",
            param="grammar",
            code="grammar_engine_missing",
        ) from error
    numbers = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if not OLDEST <= numbers < BEFORE:
        raise GrammarError(
            f"grammars need another version of llguidance than {version} ({INSTALL})",
            param="grammar",
            code="grammar_engine_missing",
        )
    try:
        return library_backend()
    except LookupError as error:
        backend = python_backend(str(error))
        if (fault := fault_of(backend)) is not None:
            raise GrammarError(
                f"llguidance {version} does not do what it should: {fault}",
                param="grammar",
                code="grammar_engine_missing",
            ) from error
        return backend


def backend_name() -> str | None:
    """What the first grammar has found, or that there was none yet; None: not installed."""
    if grammar_backend.cache_info().currsize:
        return grammar_backend().name
    return _untried_name()


@functools.cache
def _untried_name() -> str | None:
    try:
        return f"llguidance {importlib.metadata.version('llguidance')} (not tried yet)"
    except ImportError:
        return None
