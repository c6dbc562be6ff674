"""Schemas in the manner of public API specifications: those of tests/data/api_schemas.json, written by hand, and others
put together from parts that were: what a resource has, in the styles that specifications are written in."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]

WRITTEN = Path(__file__).parent.parent / "data" / "api_schemas.json"
NUM_COMPOSED = 160

# What resources have, as specifications say it.
MEMBERS: dict[str, Schema] = {
    "id": {"type": "string", "format": "uuid", "description": "Unique identifier", "readOnly": True},
    "number": {"type": "integer", "minimum": 1, "example": 42},
    "slug": {"type": "string", "pattern": "^[a-z0-9]+(?:-[a-z0-9]+)*$", "maxLength": 40},
    "name": {"type": "string", "minLength": 1, "maxLength": 80},
    "title": {"type": ["string", "null"], "maxLength": 120},
    "email": {"type": "string", "format": "email"},
    "website": {"type": "string", "format": "uri"},
    "created_at": {"type": "string", "format": "date-time"},
    "due_on": {"type": "string", "format": "date"},
    "opens_at": {"type": "string", "format": "time"},
    "ttl": {"type": "string", "format": "duration"},
    "state": {"type": "string", "enum": ["open", "closed", "in progress"], "default": "open"},
    "priority": {"enum": [1, 2, 3, None]},
    "is_active": {"type": "boolean", "default": True},
    "price": {"type": "number", "minimum": 0, "multipleOf": 0.01},
    "ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "count": {"type": "integer", "format": "int32", "minimum": 0},
    "size_bytes": {"type": "integer", "format": "int64"},
    "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 5},
    "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 30}},
    "scopes": {"type": "array", "items": {"enum": ["read", "write", "admin"]}, "uniqueItems": True},
    "location": {
        "type": "object",
        "properties": {"lat": {"type": "number", "minimum": -90, "maximum": 90}, "lon": {"type": "number"}},
        "required": ["lat", "lon"],
        "additionalProperties": False,
    },
    "address": {"$ref": "#/$defs/Address"},
    "owner": {"$ref": "#/$defs/Person"},
    "ip": {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]},
    "country": {"type": "string", "pattern": "^[A-Z]{2}$"},
    "phone": {"type": "string", "pattern": r"^\+[1-9]\d{6,14}$"},
    "color": {"type": "string", "pattern": "^#(?:[0-9a-fA-F]{3}){1,2}$"},
    "version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+(?:-[\w.]+)?$"},
    "checksum": {"type": "string", "pattern": "^[a-f0-9]{64}$"},
    "range": {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "integer"}],
        "items": False,
        "minItems": 2,
    },
    "metadata": {"type": "object"},
    "amount": {"oneOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\d{1,9}$"}, {"type": "null"}]},
    "host": {"type": "string", "format": "hostname"},
    "data": {"type": "string", "format": "byte", "maxLength": 64},
    "children": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
}
DEFINITIONS: dict[str, Schema] = {
    "Address": {
        "type": "object",
        "properties": {
            "street": {"type": "string", "maxLength": 60},
            "zip": {"type": "string", "pattern": "^[0-9]{5}(?:-[0-9]{4})?$"},
            "country": MEMBERS["country"],
        },
        "required": ["street", "country"],
    },
    "Person": {
        "type": "object",
        "properties": {"name": MEMBERS["name"], "email": MEMBERS["email"], "home": {"$ref": "#/$defs/Address"}},
        "required": ["name"],
        "additionalProperties": False,
    },
}
KINDS = ("invoice", "ticket", "device", "event", "file", "order", "user", "job")


def resource(chance: random.Random, *, n_members: int = 0) -> Schema:
    names = chance.sample(sorted(MEMBERS), n_members or chance.randint(3, 9))
    return {
        "type": "object",
        "properties": {name: MEMBERS[name] for name in names},
        "required": chance.sample(names, chance.randint(0, len(names))),
        "additionalProperties": chance.choice([False, False, False, True]),
    }


def page(chance: random.Random) -> Schema:
    """A list with what is needed for the next one."""
    return {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": resource(chance, n_members=3), "maxItems": 3},
            "next": {"type": ["string", "null"], "format": "uri"},
            "total": MEMBERS["count"],
        },
        "required": ["items"],
        "additionalProperties": False,
    }


def event(chance: random.Random) -> Schema:
    """One of several kinds, told by a member."""
    kinds = chance.sample(KINDS, 3)
    options = [{**resource(chance, n_members=3), "title": kind, "additionalProperties": False} for kind in kinds]
    for kind, option in zip(kinds, options, strict=True):
        option["properties"] = {"type": {"const": kind}, **option["properties"]}
        option["required"] = ["type", *option["required"]]
    if chance.random() < 0.5:
        return {"oneOf": options, "discriminator": {"propertyName": "type"}}
    names = {kind.title(): option for kind, option in zip(kinds, options, strict=True)}
    return {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in names], "$defs": names}


def extended(chance: random.Random) -> Schema:
    """A resource that adds to another."""
    base, more = resource(chance, n_members=3), resource(chance, n_members=3)
    for part in (base, more):
        part.pop("additionalProperties")
    return {"allOf": [base, more], "type": "object"}


def patched(chance: random.Random) -> Schema:
    """A change of a resource: something, but not everything."""
    one = resource(chance)
    return {**one, "required": [], "minProperties": 1, "additionalProperties": False}


def conditional(chance: random.Random) -> Schema:
    """Members that are needed for one state only."""
    one = resource(chance, n_members=4)
    need = chance.choice(list(one["properties"]))
    one["properties"] = {"kind": {"enum": list(chance.sample(KINDS, 3))}, **one["properties"]}
    first = one["properties"]["kind"]["enum"][0]
    return {
        **one,
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": first}}},
        "then": {"required": [need]},
    }


def exclusive(chance: random.Random) -> Schema:
    """Exactly one of two ways to say who it is."""
    one = resource(chance, n_members=4)
    names = list(one["properties"])[:2]
    return {**one, "required": [], "oneOf": [{"required": [name]} for name in names]}


def mapping(chance: random.Random) -> Schema:
    return {
        "type": "object",
        "patternProperties": {"^[a-z_]{1,12}$": resource(chance, n_members=2)},
        "additionalProperties": False,
        "maxProperties": 3,
    }


def dependent(chance: random.Random) -> Schema:
    one = resource(chance, n_members=5)
    first, second = list(one["properties"])[:2]
    return {**one, "required": [], "dependentRequired": {first: [second]}}


SHAPES: tuple[Callable[[random.Random], Schema], ...] = (
    resource, resource, resource, page, event, event, extended, patched, conditional, exclusive, mapping, dependent,
)  # fmt: skip


def _wants(schema: Any, reference: str) -> bool:
    return f'"{reference}' in json.dumps(schema)


def composed(number: int) -> Schema:
    chance = random.Random(number)
    shape = chance.choice(SHAPES)
    schema: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **shape(chance)}
    needed = {name: each for name, each in DEFINITIONS.items() if _wants(schema, "#/$defs/")}
    if needed:
        schema["$defs"] = {**needed, **schema.get("$defs", {})}
    return schema


def all_schemas() -> Iterator[tuple[str, Schema]]:
    """Each with its name."""
    yield from json.loads(WRITTEN.read_text("utf-8")).items()
    yield from ((f"composed {number}", composed(number)) for number in range(NUM_COMPOSED))
