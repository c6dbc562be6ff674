"""What can be proven about schemas that are written for the engine: that two have no value in common, that one has a
value at all that ends. Where there is no proof the answer is the careful one."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

from oxillama.structured.reach import circles

Definitions: TypeAlias = Mapping[str, dict[str, Any] | bool]

# Of all proofs for one document; beyond it nothing is proven.
MAX_STEPS = 200_000
_KINDS = frozenset({"null", "boolean", "number", "string", "array", "object"})


class Disjointness:
    """Whether schemas have no value in common. One for a whole document, since its work is bounded."""

    def __init__(self, definitions: Definitions) -> None:
        self._definitions = definitions
        self._steps = 0

    def of_all(self, schemas: list[Any]) -> bool:
        """Whether no two of them have one. False where it is not known."""
        return all(self.prove(one, other, 0) for at, one in enumerate(schemas) for other in schemas[at + 1 :])

    def prove(self, one: Any, other: Any, depth: int) -> bool:
        self._steps += 1
        if self._steps > MAX_STEPS or depth > 12:
            return False
        if one is False or other is False:
            return True
        if one is True or other is True:
            return False
        if not self._kinds(one, 0) & self._kinds(other, 0):
            return True
        for first, second in ((one, other), (other, one)):
            # To forget what stands beside a part only makes the part larger.
            if "$ref" in first and self.prove(_target(first, self._definitions), second, depth + 1):
                return True
            if any(self.prove(part, second, depth + 1) for part in first.get("allOf", ())):
                return True
            options = first.get("anyOf")
            if options is not None and all(self.prove(option, second, depth + 1) for option in options):
                return True
        return _have_other_values(one, other) or _are_apart(one, other) or self._differ_in_a_property(one, other, depth)

    def _differ_in_a_property(self, one: dict[str, Any], other: dict[str, Any], depth: int) -> bool:
        if self._kinds(one, 0) & self._kinds(other, 0) != {"object"}:
            return False
        names = {*one.get("required", ()), *other.get("required", ())}
        return any(self.prove(_property(one, name), _property(other, name), depth + 1) for name in names)

    def _kinds(self, one: Any, depth: int) -> frozenset[str]:
        """The types that a value of a schema may have, at most."""
        if one is False:
            return frozenset()
        if one is True or depth > 12:
            return _KINDS
        kinds = _KINDS
        if "type" in one:
            types = one["type"] if isinstance(one["type"], list) else [one["type"]]
            kinds = frozenset("number" if name == "integer" else name for name in types)
        values = _values(one)
        if values is not None:
            kinds &= frozenset(_kind(value) for value in values)
        if "$ref" in one:
            kinds &= self._kinds(_target(one, self._definitions), depth + 1)
        for part in one.get("allOf", ()):
            kinds &= self._kinds(part, depth + 1)
        if "anyOf" in one:
            kinds &= frozenset().union(*(self._kinds(option, depth + 1) for option in one["anyOf"]))
        return kinds


def has_finite_value(name: str, definitions: Definitions, edges: Mapping[str, Collection[str]]) -> bool:
    """Whether a value of a definition may come to an end: not if each needs another of its own kind inside it."""
    ends: set[str] = set()
    # What a definition refers to comes before it, so that only circles are looked at more than once.
    waiting = [one for circle in circles(edges) for one in circle]
    growing = True
    while growing:
        n_before = len(ends)
        for one in waiting:
            if _ends(definitions[one], ends):
                ends.add(one)
        waiting = [one for one in waiting if one not in ends]
        growing = len(ends) > n_before
    return name in ends


def _ends(schema: Any, ends: set[str]) -> bool:
    if isinstance(schema, bool):
        return schema
    if "$ref" in schema and schema["$ref"].rpartition("/")[2] not in ends:
        return False
    if not all(_ends(part, ends) for part in schema.get("allOf", ())):
        return False
    if "anyOf" in schema and not any(_ends(option, ends) for option in schema["anyOf"]):
        return False
    types = schema.get("type", ())
    types = types if isinstance(types, list) else [types]
    if types == ["object"]:
        return all(_ends(_property(schema, name), ends) for name in schema.get("required", ()))
    if types == ["array"]:
        least, prefix = schema.get("minItems", 0), schema.get("prefixItems", [])
        needed = [*prefix[:least], *([schema.get("items", True)] if least > len(prefix) else [])]
        return all(_ends(item, ends) for item in needed)
    return True


def is_defined_by_itself(definitions: Definitions) -> bool:
    """Whether a definition applies itself to the very value that it is applied to."""
    edges = {name: _applied(schema) for name, schema in definitions.items()}
    return any(len(circle) > 1 or circle[0] in edges[circle[0]] for circle in circles(edges))


def _applied(schema: Any) -> set[str]:
    found: set[str] = set()
    pending = [schema]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            pending += [*one.get("allOf", ()), *one.get("anyOf", ())]
            if "$ref" in one:
                found.add(one["$ref"].rpartition("/")[2])
    return found


def _target(schema: dict[str, Any], definitions: Definitions) -> Any:
    return definitions[schema["$ref"].rpartition("/")[2]]


def _property(schema: dict[str, Any], name: str) -> Any:
    """At least what a schema says of a property."""
    if name in schema.get("properties", ()):
        return schema["properties"][name]
    return True if schema.get("patternProperties") else schema.get("additionalProperties", True)


def _values(schema: dict[str, Any]) -> list[Any] | None:
    if "enum" in schema:
        values: list[Any] = schema["enum"]
        return values
    return [schema["const"]] if "const" in schema else None


def _have_other_values(one: dict[str, Any], other: dict[str, Any]) -> bool:
    ours, theirs = _values(one), _values(other)
    return ours is not None and theirs is not None and not set(map(_key, ours)) & set(map(_key, theirs))


def _are_apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Two ranges of numbers: right only where both are nothing but numbers."""
    types = [schema.get("type") for schema in (one, other)]
    if not all(kind in ("integer", "number") for kind in types):
        return False
    for low, high in ((one, other), (other, one)):
        least, most = low.get("minimum", low.get("exclusiveMinimum")), high.get("maximum", high.get("exclusiveMaximum"))
        if least is not None and most is not None and most < least:
            return True
    return False


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "array"
    return "object"


def _key(value: Any) -> str:
    """Equal for values that are one in JSON: 1 and 1.0, and objects whatever their order."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_key, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{json.dumps(key)}:{_key(value[key])}' for key in sorted(value))}}}"
    return json.dumps(value)
