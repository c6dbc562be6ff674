"""The strategies for grammars: what they make compiles, and whatever it allows is right."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from oxillama import Grammar
from oxillama.testing import strategies as ox
from tests.structured.walks import accepts, problem, walk

jsonschema = pytest.importorskip("jsonschema")
SLOWLY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@SLOWLY
@given(schema=ox.json_schemas(), seed=st.integers(0, 5))
def test_a_schema_is_held(schema: dict[str, Any], seed: int) -> None:
    grammar = Grammar.json_schema(schema)
    assert not problem(grammar)
    reply = walk(grammar, seed)
    if reply is not None:
        validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
        assert validator.is_valid(json.loads(reply, parse_float=Decimal)), (schema, reply)


@SLOWLY
@given(grammar=ox.grammars(), seed=st.integers(0, 5))
def test_a_grammar_compiles_and_ends(grammar: Grammar, seed: int) -> None:
    assert not problem(grammar)
    reply = walk(grammar, seed)
    assert reply is None or accepts(grammar, reply)


@pytest.mark.parametrize("kind", ["json_schema", "regex", "lark"])
def test_every_kind_is_reached(kind: str) -> None:
    assert find(ox.grammars(), lambda grammar: grammar.kind == kind).kind == kind


def test_levels_are_bounded() -> None:
    assert find(ox.json_schemas(max_depth=2), lambda schema: schema.get("type") == "array")["items"]["type"] != "array"
