"""Compiling grammars: once, in bounded time and memory, whatever they say; and what is said of those that fail."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from oxillama import Grammar, GrammarError
from oxillama.demo import demo_path
from oxillama.structured import compiler
from oxillama.structured.compiler import GrammarCompiler
from oxillama.tokenizer import Tokenizer
from tests.patience import eventually


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_gguf(demo_path())


@pytest.fixture
def fresh(tokenizer: Tokenizer) -> GrammarCompiler:
    return GrammarCompiler(tokenizer, tokenizer.n_vocab)


class SlowVocabulary:
    """Compiles when it is told to."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.go = threading.Event()
        self.texts: list[str] = []

    def compile(self, kind: str, text: str, limits: dict[str, int]) -> Any:
        self.texts.append(text)
        self.go.wait(60)
        return self.real.compile(kind, text, limits)

    def tokenize(self, text: bytes) -> list[int]:
        raise NotImplementedError


@pytest.fixture
def slow(fresh: GrammarCompiler) -> Iterator[SlowVocabulary]:
    found = SlowVocabulary(fresh.vocabulary())
    fresh._vocabulary = found
    yield found
    found.go.set()
    for thread in threading.enumerate():
        if thread.name == "oxillama-grammar":
            thread.join(30)


def test_a_grammar_is_compiled_once(fresh: GrammarCompiler) -> None:
    grammar = Grammar("regex", "a|b")
    assert not fresh.is_ready(grammar)
    found = fresh.compiled(grammar)
    assert fresh.is_ready(grammar)
    assert fresh.compiled(Grammar("regex", "a|b")) is found
    assert fresh.compiled(Grammar("lark", 'start: "a" | "b"')) is not found


def test_those_who_ask_at_once_wait_for_one(fresh: GrammarCompiler, slow: SlowVocabulary) -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(fresh.compiled(Grammar("regex", "ab")))) for _ in range(5)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(slow.texts) == 1)
    slow.go.set()
    for thread in threads:
        thread.join(30)
    assert len(found) == 5
    assert len(set(map(id, found))) == 1
    assert slow.texts == ["ab"]


def test_a_grammar_that_takes_too_long_is_refused_and_stays_so(
    fresh: GrammarCompiler, slow: SlowVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "COMPILE_SECONDS", 0.1)
    begin = time.monotonic()
    with pytest.raises(GrammarError, match=r"within 0\.1 seconds") as caught:
        fresh.compiled(Grammar("regex", "slow"))
    assert caught.value.code == "grammar_timeout"
    assert time.monotonic() - begin < 20
    with pytest.raises(GrammarError):  # the thread that is under way is asked, and no other is begun
        fresh.compiled(Grammar("regex", "slow"))
    assert slow.texts == ["slow"]


def test_a_hostile_grammar_leaves_room_for_another(
    fresh: GrammarCompiler, tokenizer: Tokenizer, slow: SlowVocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "COMPILE_SECONDS", 0.2)
    with pytest.raises(GrammarError):
        fresh.compiled(Grammar("regex", "first"))
    monkeypatch.setattr(compiler, "COMPILE_SECONDS", 20.0)
    other = GrammarCompiler(tokenizer, tokenizer.n_vocab)
    other.compiled(Grammar("regex", "second"))
    monkeypatch.setattr(compiler, "COMPILE_SECONDS", 0.2)
    with pytest.raises(GrammarError):
        fresh.compiled(Grammar("regex", "third"))
    with pytest.raises(GrammarError, match="others are being compiled") as caught:
        other.compiled(Grammar("regex", "fourth"))
    assert caught.value.code == "grammar_busy"
    slow.go.set()
    monkeypatch.setattr(compiler, "COMPILE_SECONDS", 20.0)
    other.compiled(Grammar("regex", "fourth"))


def test_the_cache_is_bounded_in_bytes(fresh: GrammarCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "CACHE_BYTES", 3 * compiler.weight(("regex", "a0")))
    grammars = [Grammar("regex", f"a{i}") for i in range(4)]
    for grammar in grammars[:3]:
        fresh.compiled(grammar)
    fresh.compiled(grammars[0])
    fresh.compiled(grammars[3])
    assert [fresh.is_ready(grammar) for grammar in grammars] == [True, False, True, True]
    assert fresh._n_bytes == 3 * compiler.weight(("regex", "a0"))


def test_what_was_refused_is_not_compiled_again(fresh: GrammarCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = []
    for _ in range(2):
        with pytest.raises(GrammarError, match="unclosed group") as caught:
            fresh.compiled(Grammar("regex", "("))
        errors.append(caught.value)
        monkeypatch.setattr(fresh, "_compile", None)
    assert errors[0] is not errors[1], "each has its own traceback"
    assert errors[1].code == "invalid_grammar"
    assert errors[1].param == "grammar"


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("regex", "a" * 70_000, "70000 bytes"),
        ("lark", "start: " + '"a" | ' * 200_000 + '"b"', "bytes"),
        ("json_schema", "[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("json_schema", json.dumps({"enum": list(range(100_001))}), "100000 values"),
        ("json_schema", json.dumps({"properties": {f"p{i}": {} for i in range(4001)}}), "4001 properties"),
        ("json_schema", json.dumps({"const": "a" * 70_000}), "70000 characters"),
        ("json_schema", "{", "no JSON"),
        ("regex", "\ud800", "surrogate"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_texts_are_bounded(fresh: GrammarCompiler, kind: Any, text: str, reason: str) -> None:
    begin = time.monotonic()
    with pytest.raises(GrammarError, match=reason):
        fresh.compiled(Grammar(kind, text))
    assert time.monotonic() - begin < 20


# Each would be the end of a process that recurses too deeply, or of patience.
HOSTILE = """
import json, sys, time
from oxillama import Grammar, GrammarError
from oxillama.demo import demo_path
from oxillama.structured.compiler import GrammarCompiler
from oxillama.tokenizer import Tokenizer

def chain(n, wrap):
    definitions = {f"a{i}": wrap({"$ref": f"#/$defs/a{i + 1}"}) for i in range(n)}
    return json.dumps({"$defs": definitions | {f"a{n}": {"type": "integer"}}, "$ref": "#/$defs/a0"})

def nest(schema):
    return {"type": "object", "properties": {"x": schema}, "required": ["x"], "additionalProperties": False}

grammars = [
    Grammar("json_schema", chain(8000, nest)),
    Grammar("json_schema", chain(12000, lambda schema: schema)),
    Grammar("json_schema", json.dumps({"$ref": "#"})),
    Grammar("json_schema", json.dumps({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})),
    Grammar("json_schema", json.dumps({"$ref": "http://example.com/schema.json"})),
    Grammar("json_schema", json.dumps({"$ref": "file:///etc/passwd"})),
    Grammar("json_schema", json.dumps({"enum": [f"value {i}" for i in range(10000)]})),
    Grammar("json_schema", json.dumps({"allOf": [{"anyOf": [{"minimum": i * j} for i in range(8)]} for j in (1, 2)]})),
    Grammar("json_schema", json.dumps({"type": "string", "minLength": 1000000})),
    Grammar("regex", "(" * 5000 + "a" + ")" * 5000),
    Grammar("regex", "(a{1,1000}){1,1000}"),
    Grammar("regex", "((a*)*)*" * 500 + "b"),
    Grammar("regex", r"(\\\\p{L}{1,200}\\\\p{N}){1,200}"),
    Grammar("regex", "(.*a.{20}){5}"),
    Grammar("lark", "start: " + "(" * 3000 + '"a"' + ")" * 3000),
    Grammar("lark", 'start: start start | "a"'),
    Grammar("lark", "start: " + " | ".join(f'"k{i}"' for i in range(10000))),
    Grammar("lark", "start: r0\\n" + "\\n".join(f'r{i}: "a" r{i + 1}?' for i in range(20000)) + '\\nr20000: "b"'),
]
compiler = GrammarCompiler.of(Tokenizer.from_gguf(demo_path()))
for grammar in grammars:
    begin = time.monotonic()
    try:
        compiler.compiled(grammar)
        print("compiled")
    except GrammarError as error:
        print(error.code)
    assert time.monotonic() - begin < 60
compiler.compiled(Grammar("regex", "still (here|there)"))
print("fine")
"""


def test_no_grammar_ends_the_process() -> None:
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", HOSTILE], capture_output=True, text=True, timeout=280, check=False
    )
    assert result.returncode == 0, result.stderr[-2000:]
    lines = result.stdout.split()
    assert lines[-1] == "fine"
    assert len(lines) == 19
    known = {
        "compiled",
        "invalid_grammar",
        "unsatisfiable",
        "grammar_too_large",
        "grammar_limit",
        "grammar_timeout",
        "fine",
    }
    assert set(lines) <= known


def test_names_of_user_defined_tokens(fresh: GrammarCompiler) -> None:
    """Become ids, since llguidance knows names of control tokens only; texts, expressions and comments stay."""
    named = 300

    class Marked:
        def find(self, text: bytes) -> int | None:
            return named if text == b"<think>" else None

        def flag(self, token: int) -> int:
            return 8

    fresh._table = Marked()  # type: ignore[assignment]
    lark = 'start: "<think>" <think> /<think>/ <other> // <think>\n x: <think>'
    expected = f'start: "<think>" <[{named}]> /<think>/ <other> // <think>\n x: <[{named}]>'
    assert fresh._with_token_ids(lark) == expected
