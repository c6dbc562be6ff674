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
from tests.cli.programs import LIMIT, environment
from tests.hub_server import serving_hub

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
    """What a program prints that finds a model.gguf and the examples where it runs."""
    (folder / "model.gguf").symlink_to(demo_path())
    (folder / "examples").symlink_to(REPOSITORY / "examples")
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


def five_minutes() -> str:
    return (REPOSITORY / "README.md").read_text("utf-8").partition("## Five minutes\n")[2].partition("\n## ")[0]


def test_the_first_five_minutes_are_short() -> None:
    assert len([line for line in five_minutes().splitlines() if line.strip()]) < 60


def test_what_is_typed_in_the_first_five_minutes_runs(tmp_path: Path) -> None:
    """Word by word, against a stand-in for the hub, which has the real model if this machine has it."""
    commands = re.findall(r"^    (oxillama .+)$", five_minutes(), re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["run", "pull", "chat"]
    cached = Path(os.environ.get("OXILLAMA_REAL_MODELS", Path.home() / ".cache" / "oxillama"))
    real = cached / "SmolLM2-135M-Instruct.Q4_1.gguf"
    model = real if real.exists() else Path(str(demo_path()))
    repository = "bartowski/SmolLM2-135M-Instruct-GGUF"
    names = [f"SmolLM2-135M-Instruct-{kind}.gguf" for kind in ("Q4_K_M", "Q8_0")]
    # The command as an installed package has it, with few tokens: this machine may be slow.
    shell = f'oxillama() {{ "{sys.executable}" -m oxillama "$@"; }}\nset -e\n'
    with serving_hub({repository: dict.fromkeys(names, model)}) as hub:
        changes = {**hub.environment(tmp_path), "OXILLAMA_PREDICT": "12", "OXILLAMA_THREADS": "1"}
        for command in commands:
            done = subprocess.run(
                ["bash", "-c", shell + command], input="Hello!\n", env=environment(**changes),
                capture_output=True, text=True, timeout=LIMIT, cwd=REPOSITORY,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}: {done.stderr}"
            assert done.stdout.strip(), command
