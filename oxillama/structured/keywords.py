"""The keywords of JSON schemas: which say nothing about values, and checks of what the others have."""

from __future__ import annotations

from typing import Any

from oxillama.structured.schema_document import SchemaPath, refused

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")


def names(text: str) -> frozenset[str]:
    """Keywords, as a text with spaces between them."""
    return frozenset(text.split())


# They describe a value to its readers, or name schemas for others; none refuses a value.
ANNOTATIONS = names(
    "title description default examples example $comment deprecated readOnly writeOnly contentMediaType "
    "contentEncoding contentSchema $schema $id id $anchor $dynamicAnchor $recursiveAnchor $vocabulary $defs "
    "definitions externalDocs xml discriminator nullable"
)


def types_of(node: Any, path: SchemaPath) -> tuple[str, ...] | None:
    """The types that a schema allows; None: all."""
    given = node.get("type")
    if given is None and "type" not in node:
        return None
    types = tuple(given) if isinstance(given, list) else (given,)
    for name in types:
        if not isinstance(name, str) or name not in TYPES:
            shown = f"`{name[:20]}`" if isinstance(name, str) else "no text"
            raise refused("type", path, f"is {shown}, expected one of {', '.join(TYPES)}", code="invalid_schema")
    if not types:
        raise refused("type", path, "allows nothing", code="invalid_schema")
    return types


def counted(keyword: str, value: Any, path: SchemaPath) -> int:
    """A number of things. 2.0 is one, too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != int(value):
        raise refused(keyword, path, "is no number of things", code="invalid_schema")
    if value > 2**31:
        raise refused(keyword, path, f"is above {2**31}")
    return int(value)


def schemas(keyword: str, value: Any, path: SchemaPath) -> list[Any]:
    if not isinstance(value, list):
        raise refused(keyword, path, "is no list", code="invalid_schema")
    return value


def texts(keyword: str, value: Any, path: SchemaPath) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise refused(keyword, path, "is no list of texts", code="invalid_schema")
    return list(dict.fromkeys(value))
