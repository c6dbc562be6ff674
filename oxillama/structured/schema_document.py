"""A JSON schema as a document: bounded, made of JSON, and where its references lead. Not what its keywords mean."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote, urldefrag, urljoin

from oxillama.errors import GrammarError

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 64
MAX_BITS = 1024
# Keywords whose values are data: what looks like a schema in them is none.
_DATA = frozenset({"enum", "const", "default", "examples", "example"})
_OLD_DIALECTS = ("draft-03", "draft-04", "draft-06", "draft-07")

SchemaPath: TypeAlias = tuple[str | int, ...]


def place(path: SchemaPath) -> str:
    """A path as errors name it: `properties.tags.items`, and `[0]` for the entries of lists."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def refused(keyword: str, path: SchemaPath, why: str, *, code: str = "unsupported_schema") -> GrammarError:
    """The error for a keyword of the schema at a path."""
    where = place(path)
    param = place(("schema", *path, keyword))
    return GrammarError(f"`{keyword}` of {where or 'the schema'} {why}", param=param, code=code)


def invalid(path: SchemaPath, why: str) -> GrammarError:
    return GrammarError(f"{place(path) or 'the schema'} {why}", param=place(("schema", *path)), code="invalid_schema")


class SchemaDocument:
    """A schema with all that its references may name. Raises GrammarError for one that is too large or no JSON."""

    def __init__(self, root: Any) -> None:
        self.root = root
        dialect = root.get("$schema") if isinstance(root, dict) else None
        self.is_old: bool = isinstance(dialect, str) and any(name in dialect for name in _OLD_DIALECTS)
        self._bases: dict[int, str] = {}
        self._references: list[dict[str, Any]] = []  # kept, so that no other object gets the id of one
        self._resources: dict[str, tuple[SchemaPath, Any]] = {"": ((), root)}
        self._anchors: dict[tuple[str, str], tuple[SchemaPath, Any]] = {}
        self._check_size()
        self._index()

    def follow(self, node: Mapping[str, Any], path: SchemaPath) -> tuple[SchemaPath, Any]:
        """Where the `$ref` of a schema leads, through others that are nothing but references."""
        seen: set[int] = set()
        here: tuple[SchemaPath, Any] = (path, node)
        while True:
            at, one = here
            if not isinstance(one, Mapping) or "$ref" not in one or not (here[1] is node or self._is_bare(one)):
                return here
            if id(one) in seen:
                raise refused("$ref", at, "refers to itself")
            seen.add(id(one))
            here = self._target(one, at)

    def only_reference(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        """A schema with a `$ref` without what stands beside it; it leads where the whole does."""
        if len(node) == 1:
            return node
        bare = {"$ref": node["$ref"]}
        self._references.append(bare)
        self._bases[id(bare)] = self._bases.get(id(node), "")
        return bare

    def _is_bare(self, node: Mapping[str, Any]) -> bool:
        return len(node) == 1 or self.is_old

    def _target(self, node: Mapping[str, Any], path: SchemaPath) -> tuple[SchemaPath, Any]:
        reference = node["$ref"]
        if not isinstance(reference, str):
            raise refused("$ref", path, "is no text", code="invalid_schema")
        try:
            base, fragment = urldefrag(urljoin(self._bases.get(id(node), ""), reference))
            fragment = unquote(fragment, errors="strict")
        except ValueError:
            raise refused("$ref", path, "is no reference", code="invalid_schema") from None
        found = self._resources.get(base)
        if found is None:
            raise refused("$ref", path, "leads out of the schema; nothing is fetched")
        if fragment and not fragment.startswith("/"):
            found = self._anchors.get((base, fragment))
        else:
            found = _pointed(found, fragment)
        if found is None or not isinstance(found[1], Mapping | bool):
            raise refused("$ref", path, "leads to no schema", code="invalid_schema")
        return found

    def _check_size(self) -> None:
        """Walks everything once: its size as a text, its depth, and that it is JSON."""
        pending: list[tuple[Any, int]] = [(self.root, 0)]
        size = 0
        while pending:
            one, depth = pending.pop()
            size += 2
            if depth > MAX_DEPTH:
                raise invalid((), f"has values inside one another, more than {MAX_DEPTH}")
            if isinstance(one, dict):
                if not all(isinstance(key, str) for key in one):
                    raise invalid((), "has an object with a key that is no text")
                size += sum(len(key) + 3 for key in one)
                pending.extend((value, depth + 1) for value in one.values())
            elif isinstance(one, list | tuple):
                pending.extend((value, depth + 1) for value in one)
            elif isinstance(one, str):
                size += len(one)
            elif isinstance(one, float) and not math.isfinite(one):
                raise invalid((), "has a number that is not finite")
            elif isinstance(one, int):
                if one.bit_length() > MAX_BITS:
                    raise invalid((), "has a number beyond what floating-point numbers hold")
                size += one.bit_length() // 3
            elif one is not None and not isinstance(one, float):
                raise invalid((), f"has a {type(one).__name__}, which is no JSON")
            if size > MAX_CHARACTERS:
                raise invalid((), f"is too large: more than {MAX_CHARACTERS} characters")

    def _index(self) -> None:
        """Finds the base of every schema, and the names that references may use."""
        pending: list[tuple[SchemaPath, Any, str]] = [((), self.root, "")]
        while pending:
            path, one, base = pending.pop()
            if isinstance(one, list):
                pending.extend(((*path, index), each, base) for index, each in enumerate(one))
            if not isinstance(one, dict):
                continue
            own = one.get("$id", one.get("id") if self.is_old else None)
            if isinstance(own, str) and not (self.is_old and "$ref" in one):
                if own.startswith("#"):
                    self._anchors[base, own[1:]] = (path, one)
                else:
                    base = _joined(base, own, path)
                    self._resources[base] = (path, one)
            for name in ("$anchor", "$dynamicAnchor"):
                if isinstance(one.get(name), str):
                    self._anchors[base, one[name]] = (path, one)
            self._bases[id(one)] = base
            pending.extend(((*path, key), value, base) for key, value in one.items() if key not in _DATA)


def _joined(base: str, own: str, path: SchemaPath) -> str:
    try:
        return urldefrag(urljoin(base, own)).url
    except ValueError:
        raise refused("$id", path, "is no URI", code="invalid_schema") from None


def _pointed(found: tuple[SchemaPath, Any], pointer: str) -> tuple[SchemaPath, Any] | None:
    path, one = found
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(one, dict) and key in one:
            path, one = (*path, key), one[key]
        elif isinstance(one, list) and key.isascii() and key.isdecimal() and int(key) < len(one):
            path, one = (*path, int(key)), one[int(key)]
        else:
            return None
    return path, one


def loaded(text: str) -> Any:
    """The value of a JSON text. Raises GrammarError."""
    if len(text) > MAX_CHARACTERS:
        raise invalid((), f"is too large: more than {MAX_CHARACTERS} characters")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise invalid((), "is no JSON") from None
