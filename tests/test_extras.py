"""What is said where an optional package is missing: its own name, which nobody else can take."""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from oxillama.extras import DISTRIBUTION, install_line

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]


def test_it_knows_its_own_name() -> None:
    assert PROJECT["name"] == DISTRIBUTION


@pytest.mark.parametrize("extra", sorted(PROJECT["optional-dependencies"]))
def test_the_line_has_the_packages_of_the_extra(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an installation of this tree would have them in its metadata."""
    declared = [
        f'{each}; extra == "{name}"' for name, all_ in PROJECT["optional-dependencies"].items() for each in all_
    ]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: ["numpy>=1.26", *declared])
    words = shlex.split(install_line(extra))
    assert words == ["pip", "install", *PROJECT["optional-dependencies"][extra]]


def test_an_installation_has_such_metadata() -> None:
    assert "matplotlib" in install_line("bench")


def test_a_tree_that_nobody_installed_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert install_line("server") == "see the extra 'server' in pyproject.toml"


def test_no_message_names_an_install_line_of_a_name_that_is_free() -> None:
    for source in sorted((REPOSITORY / "oxillama").rglob("*.py*")):
        if source.suffix in (".py", ".pyx", ".pyi"):
            assert re.search(r"install[^\n]*oxillama", source.read_text("utf-8")) is None, source
