"""A JSON schema made ready for the engine, or an error that names the keyword which cannot be held.

What is written accepts no value that the schema refuses. It may accept fewer: one spelling of a date, keys in the
schema's order, what `contains` asks for first."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from oxillama.structured.reach import longest_reach
from oxillama.structured.schema_document import SchemaDocument, SchemaPath, invalid, refused
from oxillama.structured.schema_proofs import Definitions, Disjointness, has_finite_value, is_defined_by_itself
from oxillama.structured.written_schema import Written, WrittenSchema

MAX_SCHEMAS = 20_000
MAX_REACH = 400  # the engine needs a few kilobytes of its thread's stack for each
MAX_WARNINGS = 20
ROOT = "root"
# Written as \u0000 and the like, which the engine does not know as a part of a constant or a key.
_CONTROL = re.compile(r"(?<!\\)(?:\\\\)*\\u00[01]|\x7f")


class JsonSchema:
    """A schema made ready. ``text``: what the engine takes. ``warnings``: where it is held to less than was asked.

    ``relaxed``: `oneOf` becomes `anyOf` where it cannot be held, with a warning. ``closed``: objects with named
    properties have no others unless they say so."""

    def __init__(self, schema: Any, *, relaxed: bool, closed: bool, options: Mapping[str, Any]) -> None:
        self.warnings: list[str] = []
        self._document = SchemaDocument(schema)
        self._relaxed = relaxed
        self.is_closed = closed
        self.is_old: bool = self._document.is_old
        self._names: dict[object, str] = {}
        self._waiting: deque[tuple[str, SchemaPath, Any]] = deque()
        self._num_schemas = 0
        self._one_ofs: list[tuple[dict[str, Any], SchemaPath, list[Written] | None, dict[str, Any]]] = []
        self._edges: dict[str, set[str]] = {}
        self._depths: dict[str, int] = {}
        self._definition = ROOT
        definitions = self._definitions()
        self._check(definitions)
        self.text: str = self._text(definitions, options)

    # --- what the parts need

    def written(self, node: Any, path: SchemaPath, depth: int) -> Written:
        if isinstance(node, bool):
            return node
        if not isinstance(node, Mapping):
            raise invalid(path, f"is a {type(node).__name__}, expected an object or a boolean")
        self._num_schemas += 1
        if self._num_schemas > MAX_SCHEMAS:
            raise invalid((), f"has more than {MAX_SCHEMAS} schemas inside")
        self._depths[self._definition] = max(self._depths[self._definition], depth)
        if self.is_old and "$ref" in node:
            node = self._document.only_reference(node)  # its neighbours meant nothing then
        return WrittenSchema(self, node, path, depth).shape()

    def referred(self, node: Mapping[str, Any], path: SchemaPath) -> str:
        at, target = self._document.follow(node, path)
        # There is one object for each of both booleans, so those are told apart by their place.
        key: object = id(target) if isinstance(target, Mapping) else at
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"d{len(self._names)}"
            self._waiting.append((name, at, target))
        self._edges[self._definition].add(name)
        return f"#/$defs/{name}"

    def add_one_of(
        self, shape: dict[str, Any], path: SchemaPath, denials: list[Written] | None, context: dict[str, Any]
    ) -> None:
        self._one_ofs.append((shape, path, denials, context))

    def warn(self, warning: str) -> None:
        if warning not in self.warnings and len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(warning)

    # --- the whole

    def _definitions(self) -> Definitions:
        definitions: dict[str, Written] = {}
        self._names[id(self._document.root)] = ROOT
        self._waiting.append((ROOT, (), self._document.root))
        while self._waiting:
            self._definition, path, node = self._waiting.popleft()
            self._edges[self._definition] = set()
            self._depths[self._definition] = 1
            definitions[self._definition] = self.written(node, path, 1)
        return definitions

    def _check(self, definitions: Definitions) -> None:
        if longest_reach(self._edges, self._depths) > MAX_REACH:
            raise invalid((), f"leads through schemas inside one another, more than {MAX_REACH}")
        if is_defined_by_itself(definitions):
            raise invalid((), "refers to itself where it should say what it is")
        disjointness = Disjointness(definitions)
        for shape, path, denials, context in self._one_ofs:
            self._decide_one_of(shape, path, denials, context, disjointness)
        if not has_finite_value(ROOT, definitions, self._edges):
            raise invalid((), "has no value, or none that comes to an end")

    def _decide_one_of(
        self,
        shape: dict[str, Any],
        path: SchemaPath,
        denials: list[Written] | None,
        context: dict[str, Any],
        disjointness: Disjointness,
    ) -> None:
        """`oneOf` is `anyOf` where no value can be right for two of them, or where the others can be denied."""
        options = shape["anyOf"]
        if disjointness.of_all([_within(option, context) for option in options]):
            return
        if denials is not None:
            shape["anyOf"] = [
                {"allOf": [option, *(denial for other, denial in enumerate(denials) if other != at)]}
                for at, option in enumerate(options)
            ]
        elif self._relaxed:
            why = "is held as anyOf: a value may be right for two of its alternatives"
            self.warn(str(refused("oneOf", path, why)))
        else:
            why = (
                "has alternatives that are not told apart: a value may be right for two of them. Give each a required "
                "property with a constant of its own, write anyOf, or ask without strict"
            )
            raise refused("oneOf", path, why)

    def _text(self, definitions: Definitions, options: Mapping[str, Any]) -> str:
        others = dict(definitions)
        root = others[ROOT]
        is_named = any(ROOT in edges for edges in self._edges.values())
        if is_named or not isinstance(root, dict):
            root = {"$ref": f"#/$defs/{ROOT}"}
        else:
            del others[ROOT]
        whole = {"x-guidance": dict(options), **root, **({"$defs": others} if others else {})}
        text = json.dumps(whole, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        try:
            text.encode()
        except UnicodeEncodeError:
            raise invalid((), "has half of a character, which no text can have") from None
        if _CONTROL.search(text):
            raise invalid((), "has a constant or a key with a control character, which cannot be held")
        return text


def _within(option: Written, context: Mapping[str, Any]) -> Written:
    """An alternative with what stands beside it about types and required properties."""
    if not isinstance(option, dict):
        return option
    required = [*option.get("required", ()), *context.get("required", ())]
    return {**context, **option, "required": required}
