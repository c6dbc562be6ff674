"""Schemas in the manner of public APIs: most compile, and whatever is written under one that does validates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine, Grammar, GrammarError
from oxillama.testing.tiny_models import TinyModel
from tests.structured.api_schemas import all_schemas
from tests.structured.walks import problem, walk

jsonschema = pytest.importorskip("jsonschema")

SEEDS = 3


@cache
def compiled() -> dict[str, tuple[dict[str, Any], Grammar]]:
    found = {}
    for name, schema in all_schemas():
        try:
            grammar = Grammar.json_schema(schema)
        except GrammarError:
            continue
        if not problem(grammar):
            found[name] = (schema, grammar)
    return found


def exact(text: str) -> Any:
    """With decimal numbers: 19.99 is a multiple of 0.01, whatever floating-point division says."""
    return json.loads(text, parse_float=lambda number: float(number) if "E" in number.upper() else Decimal(number))


def check(name: str, text: str) -> None:
    schema = exact(json.dumps(compiled()[name][0]))
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    with localcontext(prec=1000):
        errors = list(kind(schema, format_checker=kind.FORMAT_CHECKER).iter_errors(exact(text)))
    assert not errors, (name, text, errors[0].message)


def test_most_of_them_compile() -> None:
    names = [name for name, _ in all_schemas()]
    assert len(names) >= 200
    assert len(compiled()) >= 0.9 * len(names), sorted(set(names) - compiled().keys())


def test_whatever_their_masks_allow_validates() -> None:
    n_whole = 0
    for name, (_, grammar) in compiled().items():
        for seed in range(SEEDS):
            reply = walk(grammar, seed)
            if reply is not None:
                n_whole += 1
                check(name, reply)
    assert n_whole > 2 * len(compiled())


@pytest.fixture
def random_model(tmp_path: Path) -> Iterator[Engine]:
    """Tokens of a byte each, and weights that know nothing."""
    TinyModel(tokenizer=True, seed=5).write(tmp_path / "random.gguf")
    with Engine(tmp_path / "random.gguf", n_ctx=1024, n_threads=1, progress=False) as engine:
        yield engine


@pytest.mark.parametrize("model", ["demo", "random_model"])
def test_whatever_a_model_writes_validates(model: str, request: pytest.FixtureRequest) -> None:
    engine: Engine = request.getfixturevalue(model)
    handles = {
        name: engine.submit("Once", grammar=grammar, temperature=1.0, seed=11, max_tokens=120, queue_timeout=None)
        for name, (_, grammar) in compiled().items()
    }
    results = {name: handle.result(timeout=240) for name, handle in handles.items()}
    whole = {name: result for name, result in results.items() if result.finish_reason == "stop"}
    assert len(whole) > 10, model
    for name, result in whole.items():
        check(name, result.text)
        assert result.parsed == json.loads(result.text)
