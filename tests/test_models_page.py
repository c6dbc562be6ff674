"""The page of what runs names every architecture and every type, and nothing on it failed."""

from __future__ import annotations

import re

from oxillama.network.models import ARCHITECTURES
from oxillama.quantize import TYPES
from tests.models_page import PAGE


def rows(text: str) -> dict[str, list[str]]:
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return {cells[0].strip("`"): cells[1:] for cells in found if not set(cells[0]) <= set("-")}


def test_every_architecture_and_every_type_is_on_it() -> None:
    architectures, types = (rows(part) for part in re.split(r"^## Types", PAGE.read_text("utf-8"), flags=re.MULTILINE))
    assert sorted(set(architectures) - {"architecture"}) == sorted(ARCHITECTURES)
    assert sorted(set(types) - {"type"}) == sorted(TYPES)


def test_nothing_on_it_failed() -> None:
    assert "**no**" not in PAGE.read_text("utf-8")
