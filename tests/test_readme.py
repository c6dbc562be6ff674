"""What the documents say holds: links lead somewhere, examples run, and nobody is sent to another project's package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from oxillama.cli import COMMANDS
from oxillama.demo import demo_path

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])

LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
PYTHON_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def anchors(document: Path) -> set[str]:
    """The fragments that the headings of a document make."""
    titles = HEADING.findall(document.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def python_blocks(document: Path) -> list[str]:
    return PYTHON_BLOCK.findall(document.read_text("utf-8"))


README = REPOSITORY / "README.md"
PROGRAMS = [document for document in DOCUMENTS if document != README and python_blocks(document)]


def run(code: str, folder: Path) -> str:
    """What a program prints that finds a model.gguf where it runs."""
    (folder / "model.gguf").symlink_to(demo_path())
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if fragment:
            assert fragment in anchors(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_nobody_is_sent_to_the_package_of_the_same_name(document: Path) -> None:
    assert re.search(r"pip install (?:\S+ )*oxillama(?!-engine)\b", document.read_text("utf-8")) is None


def test_the_readme_begins_with_the_two_commands() -> None:
    first_screen = (REPOSITORY / "README.md").read_text("utf-8").splitlines()[:24]
    assert {"make demo", "make test"} <= {line.partition("#")[0].strip() for line in first_screen}
    assert "```python" in first_screen


def test_the_readme_shows_every_command() -> None:
    section = (REPOSITORY / "README.md").read_text("utf-8").partition("## Command line\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"^    oxillama (\w+)", section, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("number", range(len(python_blocks(README))))
def test_the_readme_s_python_runs(number: int, tmp_path: Path) -> None:
    """Each block by itself: it is copied by itself."""
    assert run(python_blocks(README)[number], tmp_path).strip()


@pytest.mark.parametrize("document", PROGRAMS, ids=relative)
def test_python_in_the_documents_runs(document: Path, tmp_path: Path) -> None:
    """The blocks of a page one after the other: later ones use what earlier ones made."""
    run("\n".join(python_blocks(document)), tmp_path)
