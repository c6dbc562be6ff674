"""The opposite of a JSON schema, where it can be said in keywords that are held; else None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oxillama.structured.keywords import ANNOTATIONS, TYPES


def negation(node: Any) -> Any:
    """A schema of exactly the values that ``node`` refuses, or None. `False` is a schema too."""
    if isinstance(node, bool):
        return not node
    if not isinstance(node, Mapping):
        return None
    rules = {key: value for key, value in node.items() if key not in ANNOTATIONS}
    if not rules:
        return False
    if len(rules) > 1:
        parts = [negation({key: value}) for key, value in rules.items()]
        return None if any(part is None for part in parts) else {"anyOf": parts}
    ((keyword, value),) = rules.items()
    match keyword:
        case "required" if isinstance(value, list) and all(isinstance(name, str) for name in value):
            return {"type": "object", "anyOf": [{"properties": {name: False}} for name in value]} if value else False
        case "type":
            return _other_types(value)
        case "not":
            return value
        case "anyOf" | "allOf" if isinstance(value, list) and value:
            parts = [negation(part) for part in value]
            if any(part is None for part in parts):
                return None
            return {"allOf" if keyword == "anyOf" else "anyOf": parts}
    return None


def negation_of_condition(condition: Any, node: Mapping[str, Any]) -> Any:
    """The same for the `if` of a schema, which may also ask whether a property has some of the values that the schema
    itself lists for it."""
    general = negation(condition)
    if general is not None or not isinstance(condition, Mapping) or node.get("type") != "object":
        return general
    rules = {key: value for key, value in condition.items() if key not in ANNOTATIONS and key != "type"}
    asked, listed = rules.get("properties"), node.get("properties")
    if not isinstance(asked, Mapping) or len(asked) != 1 or not isinstance(listed, Mapping):
        return None
    ((name, question),) = asked.items()
    every = _values(listed.get(name))
    chosen = _values(question)
    if every is None or chosen is None or condition.get("type", "object") != "object":
        return None
    others = {"properties": {name: {"enum": rest} if (rest := [v for v in every if not _is_in(v, chosen)]) else False}}
    if rules.keys() == {"properties"}:
        return {**others, "required": [name]}  # without the property the question is answered with yes
    return others if rules.keys() == {"properties", "required"} and rules["required"] == [name] else None


def _values(node: Any) -> list[Any] | None:
    """The values that a schema lists, if that is all it says; any more would make the opposite too narrow or wide."""
    if not isinstance(node, Mapping):
        return None
    rules = {key: value for key, value in node.items() if key not in ANNOTATIONS and key != "type"}
    if rules.keys() == {"const"}:
        return [rules["const"]]
    return list(rules["enum"]) if rules.keys() == {"enum"} and isinstance(rules["enum"], list) else None


def _is_in(value: Any, values: list[Any]) -> bool:
    # True == 1 in Python, and they are two values in JSON.
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in values)


def _other_types(value: Any) -> Any:
    given = value if isinstance(value, list) else [value]
    if any(name not in TYPES for name in given) or ("integer" in given and "number" not in given):
        return None
    # Every integer is a number.
    gone = {*given, "integer"} if "number" in given else set(given)
    rest = [name for name in TYPES if name not in gone and name != "integer"]
    return {"type": rest} if rest else False
