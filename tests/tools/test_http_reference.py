"""The tables of docs/http.md are those of the code."""

from __future__ import annotations

from dataclasses import fields

from oxillama.asgi.app import FIELD_TABLES
from oxillama.asgi.settings import Limits
from tools.http_reference import PAGE, written


def test_the_page_is_current() -> None:
    page = PAGE.read_text("utf-8")
    assert page == written(page), "run `python -m tools.http_reference`"


def test_every_route_field_and_limit_is_on_the_page() -> None:
    page = PAGE.read_text("utf-8")
    for table in FIELD_TABLES:
        section = page.partition(f"### `{table.route}`")[2].partition("\n### ")[0]
        assert section
        for name, field in table.fields.items():
            assert f"`{name}`" in section
            assert field.why in section
    for limit in fields(Limits):
        assert f"| `{limit.name}` |" in page


def test_a_page_that_is_not_current_is_noticed() -> None:
    page = PAGE.read_text("utf-8")
    changed = page.replace("| `max_depth` | 64 |", "| `max_depth` | 65 |")
    assert changed != page
    assert written(changed) == page
