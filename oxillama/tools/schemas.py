"""What a tool's schema says of its arguments, as far as it matters for reading them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ALL = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})
_MAX_DEPTH = 8


def kinds_of(schema: Any, key: str) -> frozenset[str]:
    """The JSON types that an argument may have; none where the schema does not say."""
    if not isinstance(schema, Mapping):
        return frozenset()
    properties = schema.get("properties")
    said = properties.get(key) if isinstance(properties, Mapping) else None
    return _kinds(said, schema, 0)


def _kinds(said: Any, root: Mapping[str, Any], depth: int) -> frozenset[str]:
    if not isinstance(said, Mapping) or depth > _MAX_DEPTH:
        return frozenset()
    kind = said.get("type")
    if isinstance(kind, str):
        return frozenset({kind}) & _ALL
    if isinstance(kind, list):
        return frozenset(one for one in kind if isinstance(one, str)) & _ALL
    if "const" in said or isinstance(said.get("enum"), list):
        return frozenset(map(_kind_of, said.get("enum") or [said.get("const")]))
    for word in ("anyOf", "oneOf"):
        if isinstance(said.get(word), list):
            found = [_kinds(one, root, depth + 1) for one in said[word]]
            return frozenset().union(*found) if all(found) else frozenset()
    if isinstance(said.get("allOf"), list):
        found = [kinds for one in said["allOf"] if (kinds := _kinds(one, root, depth + 1))]
        return frozenset.intersection(*found) if found else frozenset()
    reference = said.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        return _kinds(_at(root, reference[2:].split("/")), root, depth + 1)
    return frozenset()


def _at(root: Any, path: list[str]) -> Any:
    for step in path:
        step = step.replace("~1", "/").replace("~0", "~")
        root = root.get(step) if isinstance(root, Mapping) else None
    return root


def _kind_of(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case None:
            return "null"
        case list() | tuple():
            return "array"
    return "object"
