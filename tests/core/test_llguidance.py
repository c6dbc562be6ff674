"""llguidance's C functions, found in its wheel: what their masks say, and that its own Python classes agree."""

from __future__ import annotations

import importlib.metadata
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llguidance._lib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask

import oxillama._core.request
from oxillama._core.structured import llguidance as functions
from oxillama._core.structured.guide import CompiledGrammar, GuideVocabulary
from oxillama._core.structured.session import ConstraintSession
from oxillama.structured.backend import Backend, library_backend
from oxillama.tokenizer import Tokenizer
from tests.structured.vocabularies import SmallVocabulary, allowed, ids_of, library, python

BACKENDS = pytest.mark.parametrize("backend", [library, python], ids=["c", "python"])
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"enum": ["x", "y"]}},
    "required": ["name", "tags"],
    "additionalProperties": False,
}


def test_the_wheel_exports_what_is_needed() -> None:
    """A by-product of its build: when this fails, grammars take the GIL for every token."""
    found = functions.Library(llguidance._lib.__file__)
    assert found.version == importlib.metadata.version("llguidance")
    assert len(functions.NAMES) == 17
    assert library_backend().name.endswith("(C)")


def test_a_module_that_exports_nothing_is_told() -> None:
    with pytest.raises(LookupError, match="does not export llg_get_version, llg_constraint_init_set_defaults"):
        functions.Library(oxillama._core.request.__file__)
    with pytest.raises(LookupError, match="is not loaded"):
        functions.Library(str(Path(__file__)))


@BACKENDS
def test_masks_of_a_regular_expression(backend: Callable[[], Backend]) -> None:
    small = SmallVocabulary()
    session = small.session("regex", "(true|tru)[0-9]", backend())
    assert allowed(session) == small.ids("t", "true")
    assert session.accept(small.id("true")) == "open"
    assert allowed(session) == small.ids(*"0123456789", "12")[:10]
    session.rollback(1)
    for char in "tru":
        assert session.accept(small.id(char)) == "open"
    assert set(allowed(session)) == set(small.ids("e", *"0123456789"))
    assert session.accept(small.id("7")) == "complete"
    assert session.mask()[0] == "complete"
    session.rollback(1)
    assert small.id("e") in allowed(session)


@BACKENDS
@pytest.mark.parametrize("padding", range(0, 34, 3))
def test_the_model_may_have_more_tokens_than_the_vocabulary(backend: Callable[[], Backend], padding: int) -> None:
    small = SmallVocabulary(padding=padding)
    session = small.session("regex", ".+", backend())
    assert max(allowed(session)) < len(small.table)
    session.accept(small.id("a"))
    assert set(small.ends) <= set(allowed(session))
    assert max(allowed(session)) < len(small.table)


@BACKENDS
def test_every_end_token_ends_a_complete_text(backend: Callable[[], Backend]) -> None:
    small = SmallVocabulary()
    session = small.session("regex", "a+", backend())
    assert allowed(session) == small.ids("a")
    session.accept(small.id("a"))
    assert allowed(session) == sorted([small.id("a"), *small.ends])


@BACKENDS
def test_control_tokens_are_reached_by_name_only(backend: Callable[[], Backend]) -> None:
    small = SmallVocabulary()
    session = small.session("regex", r"[<|a-z>]+", backend())
    assert not set(small.ids("<|tool|>", "<|end|>", "<|stop|>")) & set(allowed(session))
    assert small.id("<think>") in allowed(session), "user-defined tokens are text"
    session = small.session("lark", 'start: "x" <|tool|> "y"', backend())
    session.accept(small.id("x"))
    assert allowed(session) == small.ids("<|tool|>")
    assert session.accept(small.id("<|tool|>")) == "open"
    assert session.accept(small.id("y")) == "complete"
    session = small.session("lark", f"start: <[{small.id('<think>')}]> /[a-z]+/", backend())
    assert allowed(session) == small.ids("<think>")


@BACKENDS
def test_forced_text_is_cut_by_the_longest_match(backend: Callable[[], Backend]) -> None:
    small = SmallVocabulary()
    session = small.session("lark", 'start: "abcd the " NUMBER\nNUMBER: /[0-9]+/', backend())
    assert allowed(session) == small.ids("abc")
    assert session.forced(10)[:4] == [small.id(text) for text in ("abc", "d", " ", "the")]


@BACKENDS
def test_text_that_the_vocabulary_cannot_write_is_a_dead_end(backend: Callable[[], Backend]) -> None:
    """Where the text is forced too, where a mask would else be that of the text behind it."""
    small = SmallVocabulary(without=b"Z")
    session = small.session("regex", "abcZd", backend())
    assert allowed(session) == small.ids("abc")
    session.accept(small.id("abc"))
    assert ids_of(session.mask()[1]) == []
    session = small.session("regex", "(aZ|b)c", backend())
    session.accept(small.id("a"))
    assert ids_of(session.mask()[1]) == []


@BACKENDS
def test_what_cannot_be_compiled_says_why(backend: Callable[[], Backend]) -> None:
    small = SmallVocabulary()
    for kind, text, reason in (
        ("regex", "(", "unclosed group"),
        ("json_schema", '{"not": {}}', "not"),
        ("json_schema", '{"$ref": "http://example.com/x"}', "example.com"),
        ("lark", "start: <|nothing|>", "special token"),
        ("lark", "start: missing", "missing"),
        ("regex", "a\0b", "NUL"),
    ):
        with pytest.raises(ValueError, match=reason):
            small.session(kind, text, backend())


@BACKENDS
def test_a_dead_end_is_told_from_a_limit(backend: Callable[[], Backend]) -> None:
    small = SmallVocabulary()
    assert small.session("lark", "start: start", backend()).mask()[0] == "dead"
    vocabulary = backend().vocabulary(small.table, small.n_vocab, small.ends)
    with pytest.raises(ValueError, match=r"(?i)fuel|limit|complex|large"):
        vocabulary.compile("regex", "[a-z]{1,50}[0-9]{1,50}x", {"initial_lexer_fuel": 1})
    with pytest.raises((ValueError, TypeError)):
        vocabulary.compile("regex", "a", {"unknown": 1})


@BACKENDS
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_way_back_gives_the_same_masks(backend: Callable[[], Backend], data: st.DataObject) -> None:
    small = SmallVocabulary()
    kind, text = data.draw(st.sampled_from(GRAMMARS))
    session, ways = small.session(kind, text, backend()), [0]
    straight = small.session(kind, text, backend())
    masks, tokens = [allowed(straight)], []
    for _ in range(12):
        choices = [token for token in masks[-1] if token not in small.ends]
        if not choices:
            break
        tokens.append(data.draw(st.sampled_from(choices)))
        status = straight.accept(tokens[-1])
        found, mask = straight.mask()
        masks.append(ids_of(mask))
        if status != "open" or found != "open":
            break
    place = 0
    for target in data.draw(st.lists(st.integers(0, len(tokens)), max_size=6)):
        if target <= place:
            session.rollback(place - target)
        for token in tokens[place:target]:
            session.accept(token)
        place = target
        if data.draw(st.booleans()):
            session.forced(4)
        assert ids_of(session.mask()[1]) == masks[place], ways


GRAMMARS: list[tuple[str, Any]] = [
    ("regex", "(ab|bc)*d"),
    ("regex", r"[a-z]{2,8}( the [0-9]+)?"),
    ("json_schema", PERSON),
    ("json_schema", {"type": "array", "items": {"type": "boolean"}, "maxItems": 3}),
    ("json_schema", {"enum": ["abc", "abcd", 12, None, True]}),
    ("lark", 'start: "a" (b | <|tool|>)+ "z"\nb: "b" | "(" b ")"'),
    ("lark", 'start: "abc" x\nx: "the" x | "é" | "name"'),
]


@pytest.mark.parametrize(("kind", "text"), GRAMMARS)
def test_both_ways_of_calling_agree(kind: str, text: Any) -> None:
    small, draw = SmallVocabulary(padding=28), random.Random(5)
    for _ in range(5):
        one, other = (small.session(kind, text, backend()) for backend in (library, python))
        for _ in range(30):
            found, mask = one.mask()
            assert (found, ids_of(mask)) == (other.mask()[0], ids_of(other.mask()[1]))
            choices = [token for token in ids_of(mask) if token not in small.ends]
            if found != "open" or not choices:
                break
            assert one.forced(5) == other.forced(5)
            token = draw.choice(choices)
            assert one.accept(token) == other.accept(token)


class RealEncoder:
    """A model's own encoder, as llguidance's Python classes take it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.special_token_ids = [token for token in range(tokenizer.n_vocab) if tokenizer.is_control(token)]
        special = set(self.special_token_ids)
        self.tokens = [
            b"\xff" * (token in special) + tokenizer.token_bytes(token) for token in range(tokenizer.n_vocab)
        ]
        self.eos_token_id = min(tokenizer.eog_ids)
        self.bos_token_id = None

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenizer.encode(text.decode("utf-8", "strict"), add_special=False)


@cache
def real(path: Path) -> tuple[Tokenizer, GuideVocabulary, LLTokenizer]:
    tokenizer = Tokenizer.from_gguf(path)
    own = GuideVocabulary(
        functions.Library(llguidance._lib.__file__), tokenizer.table, tokenizer.n_vocab, sorted(tokenizer.eog_ids)
    )
    return (
        tokenizer,
        own,
        LLTokenizer(
            TokenizerWrapper(RealEncoder(tokenizer)), n_vocab=tokenizer.n_vocab, eos_token=sorted(tokenizer.eog_ids)
        ),
    )


@pytest.mark.parametrize("name", ["ggml-vocab-llama-bpe.gguf", "ggml-vocab-qwen2.gguf"])
@pytest.mark.parametrize("schema", [PERSON, {"type": "array", "items": {"type": "number"}, "minItems": 2}])
def test_masks_are_those_of_the_real_encoder_unless_text_is_forced(
    fixtures_dir: Path, name: str, schema: dict[str, Any]
) -> None:
    tokenizer, own, theirs = real(fixtures_dir / "vocab" / name)
    n_vocab, draw, n_free = tokenizer.n_vocab, random.Random(3), 0
    for _ in range(6):
        session = _session(own, schema, n_vocab)
        matcher = LLMatcher(theirs, LLMatcher.grammar_from_json_schema(json.dumps(schema)), log_level=0)
        bits = allocate_token_bitmask(1, n_vocab)
        for _ in range(40):
            status, mask = session.mask()
            fill_next_token_bitmask(matcher, bits)
            assert not matcher.is_error(), matcher.get_error()
            ours = set(ids_of(mask)) if status == "open" else set(tokenizer.eog_ids)
            others = set(ids_of(bits[0].view(np.uint32))) - set(range(n_vocab, n_vocab + 32))
            if len(ours) == 1 or len(others) == 1:  # forced: each by its own encoder
                both = ours & others
            else:
                assert ours == others
                both, n_free = ours, n_free + 1
            choices = [token for token in sorted(both) if token not in tokenizer.eog_ids]
            if status != "open" or not choices:
                break
            token = draw.choice(choices)
            session.accept(token)
            assert matcher.consume_token(token)
    assert n_free > 30


def _session(vocabulary: GuideVocabulary, schema: dict[str, Any], n_vocab: int) -> ConstraintSession:
    return ConstraintSession(CompiledGrammar(vocabulary, "json_schema", json.dumps(schema)).guide(), n_vocab)
