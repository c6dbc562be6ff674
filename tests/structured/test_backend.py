"""Which grammar engine a process has: the C functions, the Python classes, or none, and what is said of each."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from oxillama import Engine, Grammar, GrammarError, cpu_info
from oxillama._core.output.vocab import TokenTable
from oxillama._core.structured.session import ConstraintSession
from oxillama.structured import backend
from oxillama.structured.backend import (
    LibraryBackend,
    PythonBackend,
    backend_name,
    grammar_backend,
    library_backend,
    python_backend,
)
from oxillama.structured.self_test import fault_of


@pytest.fixture(autouse=True)
def untried() -> Iterator[None]:
    grammar_backend.cache_clear()
    backend._untried_name.cache_clear()
    yield
    grammar_backend.cache_clear()
    backend._untried_name.cache_clear()


def test_the_c_functions_are_used() -> None:
    assert str(backend_name()).endswith("(not tried yet)")
    assert isinstance(grammar_backend(), LibraryBackend)
    assert grammar_backend() is grammar_backend()
    assert backend_name() == cpu_info().grammar_engine == f"llguidance {importlib.metadata.version('llguidance')} (C)"


def test_both_pass_the_self_test() -> None:
    assert fault_of(library_backend()) is None
    assert fault_of(python_backend("a test")) is None


def missing(path: str) -> LibraryBackend:
    raise LookupError("the module file does not export llg_new_matcher")


def test_without_the_functions_the_python_classes_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "LibraryBackend", missing)
    assert isinstance(grammar_backend(), PythonBackend)
    assert "Python, with the GIL: the module file does not export llg_new_matcher" in str(backend_name())
    with Engine.demo(progress=False, n_threads=2) as engine:
        assert engine.stats().grammar_engine == backend_name()
        grammar = Grammar("json_schema", '{"enum": ["a long text", 17, {"b": [true]}]}')
        found = [engine.generate("x", grammar=grammar, max_tokens=30, seed=seed) for seed in range(6)]
        with pytest.raises(GrammarError, match="unclosed group"):
            engine.generate("x", grammar=Grammar("regex", "("))
    monkeypatch.undo()
    grammar_backend.cache_clear()
    with Engine.demo(progress=False, n_threads=2) as engine:
        for seed, completion in enumerate(found):
            assert completion.finish_reason == "stop"
            assert completion.token_ids == engine.generate("x", grammar=grammar, max_tokens=30, seed=seed).token_ids


REAL = library_backend()


class Wrong:
    """An engine with a mistake."""

    def __init__(self, mistake: str) -> None:
        self.mistake = mistake
        self.name = mistake

    def vocabulary(self, table: TokenTable, n_vocab: int, end_tokens: Sequence[int]) -> Any:
        ends = end_tokens[:1] if self.mistake == "ends" else end_tokens
        real = REAL.vocabulary(table, n_vocab, ends)
        return WrongVocabulary(real, self.mistake)


class WrongVocabulary:
    def __init__(self, real: Any, mistake: str) -> None:
        self.real, self.mistake = real, mistake

    def tokenize(self, text: bytes) -> list[int]:
        return [] if self.mistake == "tokenize" else self.real.tokenize(text)

    def compile(self, kind: str, text: str, limits: dict[str, int]) -> Any:
        if self.mistake == "kinds":
            kind = "lark"
        return self.real.compile(kind, text, {} if self.mistake == "limits" else limits)


@pytest.mark.parametrize(
    ("mistake", "fault"),
    [
        ("tokenize", "cut otherwise than by the longest match"),
        ("ends", "not every end token"),
        ("limits", "limits are not kept"),
        ("kinds", "the self-test met ValueError"),
    ],
)
def test_the_self_test_finds_mistakes(mistake: str, fault: str) -> None:
    assert fault in str(fault_of(Wrong(mistake)))


def test_a_library_with_a_mistake_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "fault_of", lambda found: "odd" if isinstance(found, LibraryBackend) else None)
    assert "Python, with the GIL: odd" in grammar_backend().name
    grammar_backend.cache_clear()
    monkeypatch.setattr(backend, "fault_of", lambda found: "odd")
    with pytest.raises(GrammarError, match="does not do what it should: odd"):
        grammar_backend()


def test_without_the_package_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(GrammarError, match=r"pip install 'llguidance>=1\.9\.1,<2'") as caught:
        grammar_backend()
    assert (caught.value.param, caught.value.code) == ("grammar", "grammar_engine_missing")


def test_everything_else_runs_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", not_there)
    assert cpu_info().grammar_engine is None
    with Engine.demo(progress=False) as engine:
        assert engine.generate("x", max_tokens=3).token_ids
        for _ in range(2):
            with pytest.raises(GrammarError, match="which is not installed") as caught:
                engine.generate("x", grammar=Grammar("regex", "a"))
            assert caught.value.code == "grammar_engine_missing"
        monkeypatch.undo()
        assert engine.generate("x", grammar=Grammar("regex", "a")).text == "a"


@pytest.mark.parametrize("version", ["1.7.5", "2.0.0", "0.7.30"])
def test_other_versions_are_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    with pytest.raises(GrammarError, match=f"another version of llguidance than {version}"):
        grammar_backend()


def test_a_session_agrees_with_what_the_engine_uses() -> None:
    table = TokenTable([b"a", b"b", b"ab"], byte_level=False)
    vocabulary = grammar_backend().vocabulary(table, 40, [])
    session = ConstraintSession(vocabulary.compile("regex", "ab?", {}).guide(), 40)
    assert np.flatnonzero(np.unpackbits(session.mask()[1].view(np.uint8), bitorder="little")).tolist() == [0, 2]
    assert session.accept(2) == "complete"
