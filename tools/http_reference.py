"""Writes the tables of docs/http.md from the code: routes, limits, figures, and the fields of every route.

Usage: python -m tools.http_reference
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import msgspec

from oxillama.asgi.app import FIELD_TABLES
from oxillama.asgi.fields import Field, FieldTable
from oxillama.asgi.metrics import Metrics
from oxillama.asgi.operations import OPERATIONS
from oxillama.asgi.registry import ModelRegistry
from oxillama.asgi.settings import Limits
from oxillama.cli.serve import LIMITS
from oxillama.engine import Engine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "http.md"
_SECTION = re.compile(r"(<!-- (?P<name>\w+): made by tools/http_reference.py -->\n).*?(<!-- end -->)", re.DOTALL)
_TITLES = {"implemented": "Implemented", "harmless": "Accepted and ignored", "refused": "Refused"}
_SUFFIXES = {"counter": "_total"}
_DEFAULT = re.compile(r" \(default: .*\)$")


def written(page: str) -> str:
    """The page with its tables as the code has them now."""
    sections = {
        "routes": routes_table(),
        "limits": limits_table(),
        "figures": figures_table(),
        "fields": "\n".join(map(fields_section, FIELD_TABLES)),
    }
    return _SECTION.sub(lambda found: f"{found[1]}\n{sections[found['name']]}\n{found[3]}", page)


def routes_table() -> str:
    needs = {"open": "", "key": "a key", "admin": "the admin token"}
    return _table(
        ("route", "", "needs"),
        [(f"`{each.method.upper()} {each.path}`", each.summary, needs[each.access]) for each in OPERATIONS],
    )


def figures_table() -> str:
    async def never() -> Engine:
        raise OSError("there is no model")

    families = Metrics(ModelRegistry({"model": never})).families()
    return _table(
        ("figure", "kind", ""),
        [(f"`{each.name}{_SUFFIXES.get(each.type, '')}`", each.type, each.documentation) for each in families],
    )


def limits_table() -> str:
    limits = Limits()
    rows = []
    for spec in fields(Limits):
        value = getattr(limits, spec.name)
        _, _, meaning = LIMITS[spec.name]
        rows.append((f"`{spec.name}`", "none" if value is None else str(value), _DEFAULT.sub("", meaning)))
    return _table(("limit", "default", "of what"), rows)


def fields_section(table: FieldTable) -> str:
    parts = [f"### `{table.route}`\n"]
    for status, title in _TITLES.items():
        chosen = [field for field in table.fields.values() if field.status == status]
        if chosen:
            parts.append(_table((title, "", "from"), _rows(chosen)))
    return "\n".join(parts)


def _rows(chosen: Iterable[Field]) -> list[tuple[str, str, str]]:
    """Fields of one meaning share a row."""
    groups: dict[tuple[str, str], list[str]] = {}
    for field in chosen:
        neutral = f" (accepted: {', '.join(f'`{_json(value)}`' for value in field.neutral)})" if field.neutral else ""
        groups.setdefault((field.why + neutral, field.origin), []).append(f"`{field.name}`")
    return [(" ".join(names), why, origin) for (why, origin), names in groups.items()]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
