"""What the documents say holds: links lead somewhere, examples run, and nobody is sent to another project's package."""

from __future__ import annotations

import importlib.util
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
# A comment before a block makes a program of its own of it: `<!-- needs: django -->` one that is skipped where there is
# no django, `<!-- notebook -->` one with `await` at its top level.
PYTHON_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>needs: (?P<needs>\w+)|notebook) -->\n)?^```python\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)


def relative(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def anchors(document: Path) -> set[str]:
    """The fragments that the headings of a document make."""
    titles = HEADING.findall(document.read_text("utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def python_blocks(document: Path) -> list[str]:
    """Those that belong to the page's one program."""
    found = PYTHON_BLOCK.finditer(document.read_text("utf-8"))
    return [block["code"] for block in found if block["mark"] is None]


def marked_blocks(document: Path) -> list[tuple[str, str]]:
    """The mark and the code of those that stand for themselves."""
    found = PYTHON_BLOCK.finditer(document.read_text("utf-8"))
    return [(block["needs"] or block["mark"], block["code"]) for block in found if block["mark"] is not None]


README = REPOSITORY / "README.md"
PROGRAMS = [document for document in DOCUMENTS if document != README and python_blocks(document)]
MARKED = [(document, number) for document in DOCUMENTS for number in range(len(marked_blocks(document)))]


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
        # CI: Hypothesis does not mind there that a busy machine is slow to draw a value.
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "CI": "true"},
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
def test_nobody_is_sent_to_a_package_of_somebody_else(document: Path) -> None:
    """oxillama is another project's, and oxillama-engine nobody's until it is published: whoever comes first has it."""
    lines = re.findall(r"pip install ([^`\n]*)", document.read_text("utf-8"))
    assert [line for line in lines if re.search(r"(?<![/\w])oxillama(?!_engine-\S*\.whl)", line)] == []


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


def notebook(code: str) -> str:
    """A program that runs the code as a notebook does."""
    return (
        f"import ast, asyncio\ncode = compile({code!r}, 'cell', 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)\n"
        "names = {}\n"
        "async def cell():\n    await eval(code, names)\n"
        "asyncio.run(cell())\n"
    )


@pytest.mark.parametrize(("document", "number"), MARKED, ids=lambda value: str(getattr(value, "stem", value)))
def test_marked_python_in_the_documents_runs(document: Path, number: int, tmp_path: Path) -> None:
    mark, code = marked_blocks(document)[number]
    if mark != "notebook" and importlib.util.find_spec(mark) is None:
        pytest.skip(f"{mark} is not installed")
    run(notebook(code) if mark == "notebook" else code, tmp_path)


COMMAND_LINE = re.compile(r"^    (?:python -m )?oxillama (?P<command>\w+)(?P<rest>.*)$", re.MULTILINE)
MAKE_LINE = re.compile(r"(?:^    |`)make (?P<target>[a-z][\w-]*)(?=[\s`])", re.MULTILINE)


@pytest.mark.parametrize(
    "document", [each for each in DOCUMENTS if COMMAND_LINE.search(each.read_text("utf-8"))], ids=relative
)
def test_commands_in_the_documents_have_these_options(document: Path) -> None:
    for found in COMMAND_LINE.finditer(document.read_text("utf-8")):
        options = set(re.findall(r"(?<!\S)--?[a-z][\w-]*", found["rest"].partition("#")[0]))
        help_text = subprocess.run(
            [sys.executable, "-m", "oxillama", found["command"], "--help"],
            capture_output=True, text=True, timeout=60, cwd=REPOSITORY, check=True,
        ).stdout  # fmt: skip
        assert options <= set(re.findall(r"(?<!\S)--?[a-z][\w-]*", help_text)), found[0]


def test_what_the_documents_make_can_be_made() -> None:
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    named = {target for each in DOCUMENTS for target in MAKE_LINE.findall(each.read_text("utf-8"))}
    assert {target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


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
