"""What a chat's `response_format` asks for, as a grammar. The shapes are OpenAI's, and llama-server's beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from oxillama.errors import GrammarError
from oxillama.structured.grammar import Grammar
from oxillama.structured.typed_schema import is_type
from oxillama.values import refused

ResponseFormat: TypeAlias = Mapping[str, Any] | Grammar | type | None
PARAM = "response_format"
_KEYS = {
    "text": frozenset({"type"}),
    "json_object": frozenset({"type", "schema"}),
    "json_schema": frozenset({"type", "json_schema", "schema"}),
}
_SCHEMA_KEYS = frozenset({"name", "description", "schema", "strict"})


def response_grammar(shape: object, param: str = PARAM) -> Grammar | None:
    """The grammar; None where replies are text. A type is its own schema. `param` is what errors call the whole.

    Without `strict: true`, `oneOf` may be held as `anyOf` (`Grammar.json_schema`), and the grammar's warnings say so.
    Raises InvalidRequestError with the path of what is wrong in `.param`."""
    if shape is None or isinstance(shape, Grammar):
        return shape
    if is_type(shape):
        return Grammar.json_schema(shape)
    if not isinstance(shape, Mapping) or not isinstance(shape.get("type"), str):
        raise refused(param, "an object with a `type`, a type, or None", shape)
    kind = shape["type"]
    if kind not in _KEYS:
        raise refused(f"{param}.type", f"one of {', '.join(_KEYS)}", kind)
    _check_keys(shape, _KEYS[kind], param)
    if kind == "text":
        return None
    if kind == "json_schema" and "json_schema" in shape:
        return _from_schema(shape["json_schema"], f"{param}.json_schema")
    if shape.get("schema") is not None:
        return schema_grammar(shape["schema"], f"{param}.schema", strict=False)
    if kind == "json_schema":
        raise GrammarError(f"{param}.json_schema is missing", param=f"{param}.json_schema", code="missing_field")
    return Grammar.json_object()


def schema_grammar(schema: Any, param: str, *, strict: bool) -> Grammar:
    """The grammar of a schema that a request has at `param`."""
    try:
        return Grammar.json_schema(schema, strict=strict)
    except GrammarError as error:
        error.param = f"{param}{(error.param or '').removeprefix('schema')}"
        raise


def schema_options_grammar(options: Mapping[str, Any], param: str) -> Grammar:
    """The grammar of a schema with its name and its `strict` beside it."""
    strict = options.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise refused(f"{param}.strict", "true or false", strict)
    schema = options.get("schema")
    if schema is None:
        return Grammar.json_object()
    if not isinstance(schema, Mapping):
        raise refused(f"{param}.schema", "an object", schema)
    return schema_grammar(schema, f"{param}.schema", strict=strict is True)


def _from_schema(options: object, param: str) -> Grammar:
    if not isinstance(options, Mapping):
        raise refused(param, "an object", options)
    _check_keys(options, _SCHEMA_KEYS, param)
    return schema_options_grammar(options, param)


def _check_keys(shape: Mapping[str, Any], known: frozenset[str], param: str) -> None:
    for key, value in shape.items():
        if key not in known and value is not None:
            path = f"{param}.{key}"
            raise GrammarError(f"`{path}` is not known", param=path, code="unknown_field")
