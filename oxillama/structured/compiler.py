"""From a grammar as a caller wrote it to constraints, one for each sequence. One compiler per vocabulary.

A grammar is somebody else's text, so compiling it is bounded: by its size, by the engine's own limits, and by the time
that anybody waits for it. It runs in a thread of its own, since the engine cannot be interrupted: one whose time is up
is refused, and costs that thread until the engine's limits end it. Its `_Task` stays until then, so that who asks for
it again is refused at once.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

from oxillama._core.constraint import Constraint
from oxillama._core.output.vocab import TokenFlag
from oxillama._core.structured.session import ConstraintSession
from oxillama.errors import GrammarError, UnsupportedModelError
from oxillama.requests.beside import wait_beside
from oxillama.structured.backend import Compiled, Vocabulary, grammar_backend
from oxillama.structured.compile_threads import STACK_BYTES, compile_beside
from oxillama.structured.grammar import Grammar
from oxillama.structured.source import ConstraintSource
from oxillama.tokenizer import Tokenizer

# Bytes of a grammar's text. Of a regular expression less, since all of it is one lexeme.
MAX_TEXT = {"json_schema": 1 << 20, "lark": 1 << 20, "regex": 64 << 10}
# Of a schema: the engine's time grows with the square of the properties of one object.
MAX_PROPERTIES = 4000
MAX_VALUES = 100_000
# Bytes that grammars may force at a time, in one constant: a mask looks at all of them.
MAX_CONSTANT = 64 << 10
# The engine's own limits. A lexer's state takes one to two kilobytes.
LIMITS = {"max_lexer_states": 50_000}
# What a caller waits for, at most; the slowest of 1,249 real schemas took 27 ms.
COMPILE_SECONDS = 10.0
# About what the compiled grammars of one vocabulary take.
CACHE_BYTES = 64 << 20
# Grammars that were refused are remembered too, so that their cost arises once.
MAX_REFUSED = 256

# In a Lark grammar: a token's name, but not in texts, expressions and comments, which match without the group. A text
# without its end matches to the end of its line: every character is read once, whatever the grammar.
TOKEN_NAME = re.compile(r'"(?:\\.|[^"\\\n])*+"?|//[^\n]*+|#[^\n]*+|/(?:\\.|[^/\\\n])++/?|(<[^<>\s\[\]]++>)')


class _Task:
    """A grammar that is being compiled, and those who wait for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.begun = False
        self.limit = time.monotonic() + COMPILE_SECONDS
        self.compiled: Compiled | None = None
        self.error: GrammarError | None = None


_compilers: weakref.WeakKeyDictionary[Tokenizer, dict[int, GrammarCompiler]] = weakref.WeakKeyDictionary()
_compilers_lock = threading.Lock()


class GrammarCompiler:
    """Compiles grammars for one vocabulary, and keeps what it has compiled. Any thread may ask."""

    def __init__(self, tokenizer: Tokenizer | None, n_vocab: int) -> None:
        self._table = tokenizer.table if tokenizer else None
        self._n_vocab = n_vocab
        self._end_tokens = sorted(tokenizer.eog_ids) if tokenizer else []
        self._vocabulary: Vocabulary | None = None
        self._vocabulary_lock = threading.Lock()
        self._lock = threading.Lock()
        self._compiled: OrderedDict[tuple[str, str], Compiled] = OrderedDict()
        self._refused: OrderedDict[bytes, GrammarError] = OrderedDict()
        self._tasks: dict[tuple[str, str], _Task] = {}
        self._n_bytes = 0

    @classmethod
    def of(cls, tokenizer: Tokenizer, n_vocab: int | None = None) -> GrammarCompiler:
        """That of a tokenizer, which all who have the tokenizer share."""
        n_vocab = tokenizer.n_vocab if n_vocab is None else n_vocab
        with _compilers_lock:
            found = _compilers.setdefault(tokenizer, {})
            if n_vocab not in found:
                found[n_vocab] = cls(tokenizer, n_vocab)
            return found[n_vocab]

    @property
    def n_vocab(self) -> int:
        return self._n_vocab

    def constraints(self, grammar: Grammar | ConstraintSource | None, n: int) -> Sequence[Constraint | None]:
        """A constraint for each of `n` sequences; None for each without a grammar.

        Compiles the grammar, unless that has been done: not to be called in an event loop where `is_ready` says no.
        Raises GrammarError, and UnsupportedModelError for a model without tokenizer."""
        if grammar is None:
            return [None] * n
        if isinstance(grammar, ConstraintSource):
            return [grammar.constraint(self._n_vocab, self._end_tokens) for _ in range(n)]
        compiled = self.compiled(grammar)
        return [compiled.guide() for _ in range(n)]

    def session(self, grammar: Grammar | ConstraintSource) -> ConstraintSession:
        """A sequence that Python drives."""
        constraint = self.constraints(grammar, 1)[0]
        assert constraint is not None
        return ConstraintSession(constraint, self._n_vocab)

    def is_ready(self, grammar: Grammar | ConstraintSource | None) -> bool:
        """Whether `constraints` takes some microseconds only."""
        if not isinstance(grammar, Grammar):
            return True
        with self._lock:
            return (grammar.kind, grammar.text) in self._compiled

    def compiled(self, grammar: Grammar) -> Compiled:
        """Raises GrammarError."""
        key = (grammar.kind, grammar.text)
        with self._lock:
            if (found := self._compiled.get(key)) is not None:
                self._compiled.move_to_end(key)
                return found
            if (refused := self._refused.get(_digest(key))) is not None:
                raise _again(refused)
        check_bounds(grammar)
        with self._lock:
            task = self._tasks.get(key)
            is_mine = task is None
            if task is None:
                task = self._tasks[key] = _Task()
        if is_mine:
            self._start(key, task)
        if not wait_beside(task.done, task.limit):
            with self._lock:
                if task.begun:
                    raise _overdue("grammar_timeout")
                self._forget(key, task)  # who asks again is not too late
            raise _overdue("grammar_busy")
        if task.error is not None:
            raise _again(task.error)
        assert task.compiled is not None
        return task.compiled

    def _start(self, key: tuple[str, str], task: _Task) -> None:
        try:
            compile_beside(partial(self._run, key, task))
        except (RuntimeError, ValueError) as error:
            no_thread = GrammarError(
                f"no thread with a stack of {STACK_BYTES >> 20} MB to compile the grammar in: {error}",
                param="grammar",
                code="grammar_busy",
            )
            self._finish(key, task, None, no_thread, keep=False)

    def _run(self, key: tuple[str, str], task: _Task) -> None:
        compiled: Compiled | None = None
        error: GrammarError | None = None
        keep = True
        with self._lock:
            if time.monotonic() > task.limit:
                self._forget(key, task)
                return
            task.begun = True
        try:
            compiled = self._compile(*key)
        except GrammarError as caught:
            error = caught
            keep = caught.code != "grammar_engine_missing"
        except UnsupportedModelError as caught:
            error, keep = GrammarError(str(caught), param="grammar", code="no_tokenizer"), False
        except BaseException as caught:
            error = GrammarError(
                f"the grammar could not be compiled: {caught}", param="grammar", code="invalid_grammar"
            )
            keep = False  # short memory, say, passes
        finally:
            self._finish(key, task, compiled, error, keep=keep)

    def _finish(
        self, key: tuple[str, str], task: _Task, compiled: Compiled | None, error: GrammarError | None, *, keep: bool
    ) -> None:
        task.compiled, task.error = compiled, error
        with self._lock:
            self._forget(key, task)
            if compiled is not None:
                self._keep(key, compiled)
            elif error is not None and keep:
                self._refused[_digest(key)] = error
                while len(self._refused) > MAX_REFUSED:
                    self._refused.popitem(last=False)
        task.done.set()

    def _forget(self, key: tuple[str, str], task: _Task) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    def _keep(self, key: tuple[str, str], compiled: Compiled) -> None:
        self._compiled[key] = compiled
        self._n_bytes += weight(key)
        while self._n_bytes > CACHE_BYTES and len(self._compiled) > 1:
            oldest, _ = self._compiled.popitem(last=False)
            self._n_bytes -= weight(oldest)

    def _compile(self, kind: str, text: str) -> Compiled:
        vocabulary = self.vocabulary()
        if kind == "lark":
            text = self._with_token_ids(text)
        try:
            compiled = vocabulary.compile(kind, text, LIMITS)
        except ValueError as error:
            raise GrammarError(_reason(str(error)), param="grammar", code="invalid_grammar") from None
        # A grammar that nothing can satisfy is told now rather than with the first token.
        status, _ = ConstraintSession(compiled.guide(), self._n_vocab).mask()
        if status == "dead":
            raise GrammarError("no text satisfies the grammar", param="grammar", code="unsatisfiable")
        if status == "failed":
            raise GrammarError(
                "following the grammar takes more work or memory than is allowed for one token",
                param="grammar",
                code="grammar_limit",
            )
        return compiled

    def _with_token_ids(self, lark: str) -> str:
        """The grammar with the names of user-defined tokens as ids: the engine knows those of control tokens only."""

        def named(match: re.Match[str]) -> str:
            token = self._table.find(match[1].encode()) if match[1] and self._table is not None else None
            is_text = token is not None and self._table is not None and self._table.flag(token) & TokenFlag.USER_DEFINED
            return f"<[{token}]>" if is_text and token not in self._end_tokens else match[0]

        return TOKEN_NAME.sub(named, lark)

    def vocabulary(self) -> Vocabulary:
        """The vocabulary as the engine takes it, made on the first call: some 0.3 s for 128k tokens."""
        with self._vocabulary_lock:
            if self._vocabulary is None:
                if self._table is None:
                    raise UnsupportedModelError(
                        "the model has no tokenizer, so no grammar can tell what a token writes"
                    )
                self._vocabulary = grammar_backend().vocabulary(self._table, self._n_vocab, self._end_tokens)
            return self._vocabulary


def weight(key: tuple[str, str]) -> int:
    """About how many bytes a compiled grammar takes: its text, symbols and lexemes."""
    return 64_000 + 60 * len(key[1])


def check_bounds(grammar: Grammar) -> None:
    """Raises GrammarError for a grammar that is too large to be compiled in bounded time."""
    n_bytes = len(grammar.text.encode("utf-8", "surrogatepass"))
    if n_bytes > MAX_TEXT[grammar.kind]:
        raise _too_large(f"its text has {n_bytes} bytes, at most {MAX_TEXT[grammar.kind]} are allowed")
    try:
        grammar.text.encode()
    except UnicodeEncodeError:
        raise GrammarError("the grammar contains a lone surrogate", param="grammar", code="invalid_grammar") from None
    if grammar.kind != "json_schema":
        return
    try:
        schema = json.loads(grammar.text)
    except RecursionError:
        raise _too_large("the schema is nested too deeply") from None
    except ValueError as error:
        raise GrammarError(f"the schema is no JSON: {error}", param="grammar", code="invalid_grammar") from None
    _check_schema(schema)


def _check_schema(schema: Any) -> None:
    n_values, pending = 0, [schema]
    while pending:
        value = pending.pop()
        n_values += 1
        if n_values > MAX_VALUES:
            raise _too_large(f"the schema has more than {MAX_VALUES} values")
        if isinstance(value, dict):
            if len(value) > MAX_PROPERTIES:
                raise _too_large(f"an object of the schema has {len(value)} properties, at most {MAX_PROPERTIES}")
            pending += value.values()
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, str) and len(value) > MAX_CONSTANT:
            raise _too_large(f"a text of the schema has {len(value)} characters, at most {MAX_CONSTANT}")


def _reason(message: str) -> str:
    """The engine's own words, without what it adds for its developers, and in a readable length."""
    message = message.replace("<non-verbose/>", "").strip() or "the grammar cannot be compiled"
    return message if len(message) <= 600 else message[:600] + " ..."


def _too_large(what: str) -> GrammarError:
    return GrammarError(f"the grammar is too large: {what}", param="grammar", code="grammar_too_large")


def _overdue(code: str) -> GrammarError:
    why = "others are being compiled" if code == "grammar_busy" else "it is too complex"
    return GrammarError(
        f"the grammar could not be compiled within {COMPILE_SECONDS:g} seconds: {why}", param="grammar", code=code
    )


def _digest(key: tuple[str, str]) -> bytes:
    """A refused text is only compared, so it is not kept."""
    return hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).digest()


def _again(error: GrammarError) -> GrammarError:
    """A new exception, since a raised one collects its callers."""
    return GrammarError(str(error), param=error.param, code=error.code)
