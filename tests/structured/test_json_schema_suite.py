"""The JSON-Schema-Test-Suite: what compiles accepts nothing that is wrong, of its values and of what is drawn."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from oxillama import Grammar, GrammarError
from tests.structured.walks import accepts, problem, walk
from tools import json_schema_suite as suite

jsonschema = pytest.importorskip("jsonschema")

# How many schemas compile, at least. The table in docs/structured_output.md has what they were when it was written.
DIALECTS = {"draft2020-12": 270, "draft2019-09": 270, "draft7": 220, "draft6": 190, "draft4": 130}
VALIDATORS = {
    "draft2020-12": jsonschema.Draft202012Validator,
    "draft2019-09": jsonschema.Draft201909Validator,
    "draft7": jsonschema.Draft7Validator,
    "draft6": jsonschema.Draft6Validator,
    "draft4": jsonschema.Draft4Validator,
}


@pytest.fixture(autouse=True)
def archive() -> None:
    if not suite.path().is_file():
        pytest.skip(
            f"no {suite.ARCHIVE}: `python -m tools.json_schema_suite` fetches it ({suite.VARIABLE} names where)"
        )


def compiled(schema: Any) -> Grammar | None:
    try:
        grammar = Grammar.json_schema(schema)
    except GrammarError:
        return None
    return None if problem(grammar) else grammar


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nothing_wrong_is_accepted(dialect: str) -> None:
    validator = VALIDATORS[dialect]
    counts: Counter[str] = Counter()
    for name, group in suite.cases(dialect):
        schema = group["schema"]
        if isinstance(schema, dict):
            schema = {"$schema": validator.META_SCHEMA["$schema"], **schema}
        counts["schemas"] += 1
        grammar = compiled(schema)
        if grammar is None:
            continue
        counts["compiled"] += 1
        for test in group["tests"]:
            text = json.dumps(test["data"], ensure_ascii=False)
            if not test["valid"]:
                assert not accepts(grammar, text), (name, group["description"], test["description"])
        checker = validator(schema, format_checker=validator.FORMAT_CHECKER)
        reply = walk(grammar, seed=1)
        if reply is not None:
            counts["drawn"] += 1
            assert checker.is_valid(json.loads(reply)), (name, group["description"], reply)
    assert counts["compiled"] >= DIALECTS[dialect], counts
    assert counts["drawn"] >= counts["compiled"] * 0.9, counts
