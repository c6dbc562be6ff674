"""Hypothesis strategies for grammars: schemas that are held, and grammars of every kind with texts they have."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from oxillama.structured.formats import STRING_FORMATS
from oxillama.structured.grammar import Grammar

_NAMES = st.sampled_from(["a", "b", "name", "kind", "x y", "é"])
_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
_PATTERNS = st.sampled_from([r"^\d{1,3}$", "^[a-z]{2,5}$", "^(?:yes|no)$", r"^\w+\.\w+$", "a", "^.{0,4}$"])


def json_schemas(*, max_depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """JSON schemas that `Grammar.json_schema` holds and that have a value, of at most so many levels."""
    leaves = st.one_of(_strings(), _numbers(), _constants(), st.just({"type": "boolean"}), st.just({"type": "null"}))
    schemas: st.SearchStrategy[dict[str, Any]] = leaves
    for _ in range(max_depth - 1):
        schemas = st.one_of(leaves, _arrays(schemas), _objects(schemas), _choices(schemas))
    return schemas


def grammars(*, max_depth: int = 3) -> st.SearchStrategy[Grammar]:
    """Grammars of every kind: schemas, patterns, lists of texts, GBNF."""
    return st.one_of(
        st.builds(Grammar.json_schema, json_schemas(max_depth=max_depth), pretty=st.booleans()),
        st.builds(Grammar.regex, _PATTERNS.map(lambda pattern: pattern.removeprefix("^").removesuffix("$"))),
        st.builds(Grammar.choice, st.lists(_WORDS, min_size=1, max_size=5)),
        st.builds(Grammar.gbnf, _gbnf()),
    )


def _strings() -> st.SearchStrategy[dict[str, Any]]:
    lengths = st.tuples(st.integers(0, 4), st.integers(0, 8)).map(
        lambda pair: {"type": "string", "minLength": pair[0], "maxLength": sum(pair)}
    )
    patterns = st.builds(lambda pattern: {"type": "string", "pattern": pattern}, _PATTERNS)
    formats = st.builds(lambda name: {"type": "string", "format": name}, st.sampled_from(sorted(STRING_FORMATS)))
    return st.one_of(lengths, patterns, formats)


@st.composite
def _numbers(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.integers(-1000, 1000))
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"])), "minimum": low}
    if draw(st.booleans()):
        schema["maximum"] = low + draw(st.integers(10, 1000))
    if draw(st.booleans()):
        schema["multipleOf"] = draw(st.sampled_from([1, 2, 5, 10]))
    return schema


def _constants() -> st.SearchStrategy[dict[str, Any]]:
    values = st.one_of(st.none(), st.booleans(), st.integers(-99, 99), _WORDS)
    return st.one_of(
        st.builds(lambda value: {"const": value}, values),
        st.builds(lambda several: {"enum": several}, st.lists(values, min_size=1, max_size=4)),
    )


@st.composite
def _arrays(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": draw(inner), "maxItems": draw(st.integers(0, 3))}
    if draw(st.booleans()):
        schema["prefixItems"] = draw(st.lists(inner, min_size=1, max_size=2))
    if draw(st.booleans()):
        schema["minItems"] = draw(st.integers(0, schema["maxItems"]))
    return schema


@st.composite
def _objects(draw: st.DrawFn, inner: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    properties = draw(st.dictionaries(_NAMES, inner, max_size=3))
    required = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _choices(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda options: {"anyOf": options}, st.lists(inner, min_size=1, max_size=3))


@st.composite
def _gbnf(draw: st.DrawFn) -> str:
    """Rules that may use those after them, and one that uses itself."""
    letters = st.sampled_from("abc")
    atoms = st.one_of(
        letters.map(lambda letter: f'"{letter}"'),
        st.sampled_from(["[a-c]", "[^a-c ]", '"\\x64"', '("e" | "f")']),
    )
    bounds = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}"])
    lines = []
    for number in range(draw(st.integers(0, 2))):
        parts = [draw(atoms) + draw(bounds) for _ in range(draw(st.integers(1, 3)))]
        lines.append(f"part{number} ::= {' '.join(parts)} # a part")
    parts = [draw(st.one_of(atoms, st.sampled_from([f"part{n}" for n in range(len(lines))] or ['"g"']))) for _ in "ab"]
    nested = draw(st.booleans())
    lines.insert(0, f"root ::= {' '.join(parts)}" + (' | "(" root ")"' if nested else ""))
    return "\n".join(lines)
