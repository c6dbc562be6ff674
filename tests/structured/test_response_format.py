"""OpenAI's `response_format` as a grammar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from oxillama import Grammar, GrammarError, InvalidRequestError
from oxillama.structured.response_format import response_grammar

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
UNCLEAR = {"oneOf": [{"type": "string"}, {"minLength": 3}]}


@dataclass
class Answer:
    a: int


@pytest.mark.parametrize(
    ("shape", "grammar"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "text", "json_schema": None}, None),
        ({"type": "json_object"}, Grammar.json_object()),
        ({"type": "json_object", "schema": SCHEMA}, Grammar.json_schema(SCHEMA)),
        ({"type": "json_schema", "schema": SCHEMA}, Grammar.json_schema(SCHEMA)),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, Grammar.json_schema(SCHEMA)),
        ({"type": "json_schema", "json_schema": {"name": "x", "strict": True}}, Grammar.json_object()),
        (Grammar.regex("a"), Grammar.regex("a")),
        (Answer, Grammar.json_schema(Answer)),
    ],
)
def test_shapes(shape: Any, grammar: Grammar | None) -> None:
    assert response_grammar(shape) == grammar


@pytest.mark.parametrize(
    ("shape", "param"),
    [
        ("json", "response_format"),
        ({}, "response_format"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": 5}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": 5}}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"strict": 1}}, "response_format.json_schema.strict"),
        ({"type": "json_schema", "json_schema": {"shema": {}}}, "response_format.json_schema.shema"),
        ({"type": "json_object", "nope": 1}, "response_format.nope"),
        ({"type": "json_schema", "json_schema": {"schema": {"items": {"not": {"const": 1}}}}},
         "response_format.json_schema.schema.items.not"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_path(shape: Any, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        response_grammar(shape)
    assert caught.value.param == param


def test_only_strict_requests_are_never_relaxed() -> None:
    def shape(**strict: bool) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"name": "x", "schema": UNCLEAR, **strict}}

    for relaxed in (shape(), shape(strict=False)):
        grammar = response_grammar(relaxed)
        assert grammar is not None
        assert len(grammar.warnings) == 1
    with pytest.raises(GrammarError):
        response_grammar(shape(strict=True))
