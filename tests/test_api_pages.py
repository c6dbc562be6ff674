"""The API pages have everything that is public."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import oxillama
from tests.signatures import MODULES, RECORDED

PAGES = Path(__file__).resolve().parent.parent / "docs" / "api"
ENTRY = re.compile(r"^::: (\S+)", re.MULTILINE)
# Helpers of their own modules, and what a class of another page says already.
NOT_SHOWN = {"oxillama.config", "oxillama.hub", "oxillama.ray", "oxillama.tokenizer"}


def shown() -> set[str]:
    return {name for page in PAGES.glob("*.md") for name in ENTRY.findall(page.read_text("utf-8"))}


def is_shown(name: str) -> bool:
    """By itself, or with its module or class."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in shown() for end in range(2, len(parts) + 1))


@pytest.mark.parametrize("name", oxillama.__all__)
def test_every_name_of_the_package_is_shown(name: str) -> None:
    assert is_shown(f"oxillama.{name}") or is_shown(f"oxillama.errors.{name}")


def test_every_public_module_is_shown() -> None:
    recorded = RECORDED.read_text("utf-8").splitlines()
    for module in MODULES[1:]:
        names = {
            re.split(r"[.(:]", line.removeprefix(f"{module}."))[0] for line in recorded if line.startswith(f"{module}.")
        }
        missing = {name for name in names if not name.isupper() and not is_shown(f"{module}.{name}")}
        assert module in NOT_SHOWN or missing == set(), module


def test_no_entry_stands_twice() -> None:
    entries = [name for page in PAGES.glob("*.md") for name in ENTRY.findall(page.read_text("utf-8"))]
    assert len(entries) == len(set(entries))
