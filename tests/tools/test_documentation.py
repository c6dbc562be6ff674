"""The documentation site: links of the repository become links of the site, and one that leads nowhere fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site is built by `make docs`, with the group docs")
pytest.importorskip("mkdocstrings_handlers.python", reason="the site is built by `make docs`, with the group docs")

from tools.documentation import site
from tools.documentation.docstrings import as_markdown

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Builds a site of one page of ours and a few of the repository's; the API pages take their time elsewhere."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build"], cwd=folder, capture_output=True, text=True, timeout=240,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small copy: the configuration, the hooks, one page outside docs/ and two inside."""
    for name in site.OUTSIDE:
        (tmp_path / name).write_text(f"# {name}\n\n[start](docs/start.md#first), [code](code.py)\n")
    (tmp_path / "code.py").write_text('TICKS = "```"\n')
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "start.md").write_text("# Start\n\n## First\n\n[home](../README.md), [code](../code.py)\n")
    (tmp_path / "docs" / "api.md").write_text("# API\n\n::: pack.Thing\n")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text('class Thing:\n    """A thing.\n\n    a: one\n    b: two"""\n')
    shutil.copytree(REPOSITORY / "tools" / "documentation", tmp_path / "tools" / "documentation")
    configuration = (REPOSITORY / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[0]
    (tmp_path / "mkdocs.yml").write_text(configuration + "\nnav: [index.md]\n")
    return tmp_path


def test_the_site_has_every_page_and_what_they_link_to(repository: Path) -> None:
    done = build(repository)
    assert done.returncode == 0, done.stderr
    pages = repository / "build" / "site"
    assert 'href="source/code.py.html"' in (pages / "index.html").read_text("utf-8")
    assert 'href="start.html#first"' in (pages / "index.html").read_text("utf-8")
    assert "TICKS" in (pages / "source" / "code.py.html").read_text("utf-8")
    assert "<code>b</code>" in (pages / "api.html").read_text("utf-8")
    texts = [page.read_text("utf-8") for page in pages.rglob("*.html")]
    fetched = [found for text in texts for found in re.findall(r'(?:src=|@import )"?https?:[^" ]*', text)]
    assert fetched == [], "the pages must not need a network"


@pytest.mark.parametrize(
    "wrong", ["[a](nowhere.md)", "[a](start.md#second)", "[a](../nothing.py)", "::: pack.Nothing"],
    ids=["page", "heading", "file", "name"],
)  # fmt: skip
def test_what_leads_nowhere_fails(wrong: str, repository: Path) -> None:
    page = repository / "docs" / "start.md"
    page.write_text(f"{page.read_text('utf-8')}\n{wrong}\n")
    assert build(repository).returncode != 0


def test_lists_of_fields_become_markdown() -> None:
    text = "What it is.\n\ntop_k: 0 or more.\nseed: any\n\nRaises: nothing.\n\n::\n\n    a drawing\n"
    assert as_markdown(text).splitlines() == [
        "What it is.", "", "- `top_k`: 0 or more.", "- `seed`: any", "", "Raises: nothing.", "", "", "    a drawing",
    ]  # fmt: skip
