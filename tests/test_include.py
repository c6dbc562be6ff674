"""What the wheel carries for other packages' compilers is all they need."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import oxillama

REPOSITORY = Path(__file__).resolve().parent.parent
CORE = REPOSITORY / "oxillama" / "_core"
PUBLIC = ("request", "ring")


def shipped_headers() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["oxillama._core"]
    return {
        path.relative_to(CORE / "csrc").as_posix()
        for pattern in patterns
        for path in CORE.glob(pattern)
        if path.suffix == ".h"
    }


def declared(module: str) -> set[str]:
    """The headers that a ``.pxd`` file and all it cimports ask for."""
    text = (CORE / f"{module.replace('.', '/')}.pxd").read_text("utf-8")
    headers = set(re.findall(r'extern from "([\w./]+)"', text))
    for other in re.findall(r"^from oxillama\._core\.([\w.]+) cimport", text, re.MULTILINE):
        headers |= declared(other)
    return headers


def included(header: str) -> set[str]:
    names = set(re.findall(r'#\s*include "([\w./]+)"', (CORE / "csrc" / header).read_text("utf-8")))
    return names.union(*(included(name) for name in names))


def test_the_include_folder_has_the_headers() -> None:
    folder = Path(oxillama.get_include())
    assert (folder / "atomics.h").is_file()


@pytest.mark.parametrize("module", PUBLIC)
def test_every_header_a_public_module_needs_is_shipped(module: str) -> None:
    needed = declared(module)
    assert needed
    assert needed.union(*(included(header) for header in needed)) <= shipped_headers()
