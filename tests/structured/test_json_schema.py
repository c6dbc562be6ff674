"""JSON schemas made ready: what is held and how, what is refused and where, and that hostile ones cost little."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from oxillama import Grammar, GrammarError
from tests.structured.walks import accepts, problem, walk

jsonschema = pytest.importorskip("jsonschema")

NAMED = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
PETS = {
    "$defs": {
        "cat": {
            "type": "object",
            "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}},
            "required": ["kind"],
        },
        "dog": {"type": "object", "properties": {"kind": {"enum": ["dog", "puppy"]}}, "required": ["kind"]},
    },
    "oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
}
CONDITIONAL = {
    "type": "object",
    "properties": {"by": {"enum": ["card", "cash"]}, "number": {"type": "string"}},
    "required": ["by"],
    "additionalProperties": False,
    "if": {"properties": {"by": {"const": "card"}}},
    "then": {"required": ["number"]},
    "else": {"properties": {"number": False}},
}
TREE = {
    "$ref": "#/$defs/tree",
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
            "additionalProperties": False,
        }
    },
}


def refused(schema: Any, **options: Any) -> GrammarError:
    with pytest.raises(GrammarError) as caught:
        Grammar.json_schema(schema, **options)
    return caught.value


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        (NAMED, [{}, {"a": 1}, {"a": 1, "b": "x"}], [{"a": "x"}, {"b": 1}, []]),
        (PETS, [{"kind": "cat", "lives": 9}, {"kind": "puppy"}], [{"kind": "cow"}, {}]),
        (CONDITIONAL, [{"by": "cash"}, {"by": "card", "number": "1"}], [{"by": "card"}, {"by": "cash", "number": "1"}]),
        (TREE, [{}, {"children": [{}, {"children": []}]}], [{"children": [1]}, {"other": 1}]),
        ({"not": {"type": ["string", "null"]}}, [1, [], {}, True], ["x", None]),
        ({"type": "object", "not": {"required": ["a", "b"]}}, [{}, {"a": 1}, {"b": 1}], [{"a": 1, "b": 2}]),
        (
            {**NAMED, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            [{"a": 1}, {"b": "x"}],
            [{}, {"a": 1, "b": "x"}],
        ),
        ({**NAMED, "dependentRequired": {"a": ["b"]}}, [{}, {"b": "x"}, {"a": 1, "b": "x"}], [{"a": 1}]),
        ({"type": "array", "contains": {"const": 7}}, [[7], [7, "x"]], [[], ["x"]]),
        ({"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True}, [[], [3, 1], [2, 1, 3]], [[1, 1], [4]]),
        ({"type": "object", "propertyNames": {"enum": ["x", "y"]}}, [{}, {"x": 1, "y": 2}], [{"z": 1}]),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, [{}, {"ab": 1}], [{"b": 1}]),
        ({"type": "object", "propertyNames": {"maxLength": 2}}, [{}, {"ab": 1}], [{"abc": 1}]),
        ({**NAMED, "unevaluatedProperties": False}, [{"a": 1}], [{"c": 1}]),
        ({"type": "integer", "format": "int32"}, [5, -(2**31)], [2**31, 1.5]),
        ({"type": "integer", "maximum": 9223372036854775807, "minimum": 3}, [3, 2**53], [2]),
        (
            {"type": "string", "format": "date"},
            ["2024-02-29", "2023-12-31"],
            ["2023-02-29", "2023-13-01", "1900-02-29"],
        ),
        ({"type": "string", "format": "ipv6"}, ["::", "1:2:3:4:5:6:7:8", "fe80::1"], ["1::2::3", "1:2"]),
        (
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "type": "integer",
                "minimum": 1,
                "exclusiveMinimum": True,
            },
            [2],
            [1],
        ),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "items": [{"type": "integer"}],
                "additionalItems": False,
            },
            [[1]],
            [[1, 2]],
        ),
        ({"$ref": "#odd", "$defs": {"x": {"$anchor": "odd", "type": "null"}}}, [None], [1]),
        (
            {"$id": "http://x.y/a.json", "$ref": "b.json", "$defs": {"b": {"$id": "b.json", "type": "null"}}},
            [None],
            [1],
        ),
    ],
)
def test_values_are_told_apart(schema: dict[str, Any], right: list[Any], wrong: list[Any]) -> None:
    grammar = Grammar.json_schema(schema)
    for value in right:
        assert accepts(grammar, json.dumps(value)), value
    for value in wrong:
        assert not accepts(grammar, json.dumps(value)), value


@pytest.mark.parametrize(
    ("schema", "param", "message"),
    [
        (
            {"properties": {"a": {"not": {"const": 1}}}},
            "schema.properties.a.not",
            "`not` of properties.a cannot be held",
        ),
        ({"items": [{}, {"uniqueItems": True}]}, "schema.items[1].uniqueItems", "`uniqueItems` of items"),
        ({"type": "array", "contains": {}, "maxContains": 2}, "schema.maxContains", "cannot be held"),
        ({"type": "object", "minProperties": 3}, "schema.minProperties", "above 1"),
        ({"allOf": [{}], "unevaluatedProperties": False}, "schema.unevaluatedProperties", "beside schemas that apply"),
        ({"if": {"minimum": 3}, "then": {"type": "integer"}}, "schema.if", "cannot be held"),
        ({"oneOf": [{"type": "string"}, {"minLength": 3}]}, "schema.oneOf", "not told apart"),
        ({"type": "string", "format": "license-plate"}, "schema.format", "names a format that is not known"),
        ({"type": "string", "pattern": "(?!a)"}, "schema.pattern", "looks ahead or behind, .* at character 1"),
        ({"patternProperties": {r"\bx": {}}}, r"schema.patternProperties.\bx", "the edge of a word"),
        ({"$ref": "https://example.com/schema.json"}, "schema.$ref", "nothing is fetched"),
        ({"$ref": "file:///etc/passwd"}, "schema.$ref", "nothing is fetched"),
        ({"$ref": "#/$defs/none"}, "schema.$ref", "leads to no schema"),
        ({"$ref": "#"}, "schema.$ref", "refers to itself"),
        ({"$dynamicRef": "#x"}, "schema.$dynamicRef", "cannot be held"),
        ({"type": "text"}, "schema.type", "is `text`, expected one of"),
        ({"type": "integer", "minimum": "3"}, "schema.minimum", "is no number"),
        ({"type": "integer", "minimum": 2**60}, "schema.minimum", "where bounds are not exact"),
        ({"type": "number", "multipleOf": 1e-9}, "schema.multipleOf", "at most 6 decimals"),
        ({"required": "a"}, "schema.required", "is no list of texts"),
        ({"properties": {"a": 5}}, "schema.properties.a", "is a int, expected an object"),
        ({"const": "a\u0000b"}, "schema", "a control character"),
        ({"enum": []}, "schema", "has no value"),
        (False, "schema", "has no value"),
        ("{", "schema", "is no JSON"),
    ],
)
def test_what_cannot_be_held_is_named_with_its_path(schema: Any, param: str, message: str) -> None:
    with pytest.raises(GrammarError, match=message) as caught:
        Grammar.json_schema(schema)
    assert caught.value.param == param


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}, "minItems": 1}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}},
        {
            "$ref": "#/$defs/a",
            "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}},
        },
    ],
)
def test_recursion_without_end_is_refused(schema: dict[str, Any]) -> None:
    assert any(words in str(refused(schema)) for words in ("comes to an end", "refers to itself"))


def chain(n: int, link: str) -> dict[str, Any]:
    links: dict[str, Any] = {f"a{number}": {link: {"$ref": f"#/$defs/a{number + 1}"}} for number in range(n)}
    return {"$ref": "#/$defs/a0", "$defs": {**links, f"a{n}": {"type": "string"}}}


def deep(n: int) -> Any:
    schema: Any = {"type": "string"}
    for _ in range(n):
        schema = {"type": "array", "items": schema}
    return schema


HOSTILE = {
    "a long chain of references": chain(1500, "items"),
    "a longer chain of references": chain(20_000, "additionalProperties"),
    "many levels": deep(5000),
    "a megabyte of text": {"title": "x" * (1 << 21)},
    "ten thousand alternatives": {"anyOf": [{"const": number} for number in range(10_001)]},
    "ten thousand values": {"enum": list(range(10_001))},
    "ten thousand properties": {"type": "object", "properties": {f"p{number}": {} for number in range(10_000)}},
    "many schemas": {"type": "object", "properties": {f"p{one}": {"anyOf": [{}] * 100} for one in range(900)}},
    "a catastrophic pattern": {"type": "string", "pattern": "((a{100}){100}){100}"},
    "a huge integer": {"const": 10**400_000},
    "dependencies": {"dependentRequired": {f"p{number}": ["x"] for number in range(100)}},
    "one of many alike": {"oneOf": [{"type": "object", "properties": {"a": {}}} for _ in range(2000)]},
    "one of many that branch": {"oneOf": [{"anyOf": [{"anyOf": [{}] * 9}] * 9, "title": str(n)} for n in range(30)]},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused_soon(name: str) -> None:
    began = time.perf_counter()
    refused(HOSTILE[name])
    assert time.perf_counter() - began < 20


def test_a_dense_web_of_references_is_refused_soon() -> None:
    layers, width = 300, 20
    definitions: dict[str, Any] = {
        f"l{layer}n{one}": {"anyOf": [{"$ref": f"#/$defs/l{layer + 1}n{other}"} for other in range(width)]}
        for layer in range(layers)
        for one in range(width)
    }
    definitions |= {f"l{layers}n{one}": {"type": "null"} for one in range(width)}
    refused({"$ref": "#/$defs/l0n0", "$defs": definitions})


def test_a_key_has_no_second_spelling() -> None:
    """Else a value of another type could hide behind the key that a schema names."""
    grammar = Grammar.json_schema(NAMED)
    assert accepts(grammar, '{"c": "x"}')
    assert not accepts(grammar, '{"\\u0061": "x"}')


def test_white_space_is_bounded() -> None:
    compact, pretty = Grammar.json_schema(NAMED), Grammar.json_schema(NAMED, pretty=True)
    text = '{\n  "a": 1,\n  "b": "x"\n}'
    assert accepts(compact, '{"a": 1, "b":"x"}')
    assert not accepts(compact, text)
    assert not accepts(compact, '{"a":  1}')
    assert accepts(pretty, text)
    assert not accepts(pretty, '{\n\n"a": 1}')


def test_relaxed_requests_say_where_they_are() -> None:
    schema = {"properties": {"a": {"oneOf": [{"type": "string"}, {"minLength": 3}]}}}
    assert refused(schema).code == "unsupported_schema"
    grammar = Grammar.json_schema(schema, strict=False)
    assert [each.split(":")[0] for each in grammar.warnings] == ["`oneOf` of properties.a is held as anyOf"]
    assert not problem(grammar)
    # Nothing else is relaxed.
    assert refused({"not": {"minimum": 3}}, strict=False).param == "schema.not"


def test_an_unknown_keyword_is_told() -> None:
    grammar = Grammar.json_schema({"type": "string", "maxLenght": 3, "x-order": 1, "title": "t"})
    assert grammar.warnings == ("`maxLenght` of the schema is no keyword of JSON Schema, so nothing is held to it",)


def test_json_as_a_text_is_a_schema() -> None:
    assert Grammar.json_schema('{"type": "null"}') == Grammar.json_schema({"type": "null"})
    assert walk(Grammar.json_object(), seed=3, ends_at=1.0) is not None


@pytest.mark.parametrize("name", ["NAMED", "PETS", "CONDITIONAL", "TREE"])
def test_what_is_drawn_validates(name: str) -> None:
    schema = globals()[name]
    grammar = Grammar.json_schema(schema)
    replies = [walk(grammar, seed) for seed in range(20)]
    assert len([one for one in replies if one is not None]) > 10
    for reply in replies:
        assert reply is None or jsonschema.Draft202012Validator(schema).is_valid(json.loads(reply)), reply


def test_what_stands_beside_a_reference_of_old_changes_its_base_no_less() -> None:
    """In draft 7 the neighbours of `$ref` say nothing, but the references inside still start from where they stand."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "http://x.y/root.json",
        "definitions": {
            "inner": {
                "$id": "http://x.y/folder/inner.json",
                "type": "object",
                "properties": {"a": {"$ref": "leaf.json", "description": "ignored"}},
                "required": ["a"],
                "additionalProperties": False,
            },
            "near": {"$id": "http://x.y/folder/leaf.json", "type": "integer"},
            "far": {"$id": "http://x.y/leaf.json", "type": "string"},
        },
        "$ref": "#/definitions/inner",
    }
    grammar = Grammar.json_schema(schema)
    assert accepts(grammar, '{"a":1}')
    assert not accepts(grammar, '{"a":"x"}')
