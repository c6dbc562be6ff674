"""Type checkers find every misuse of a file full of them, and nothing wrong with the rest of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

MISUSE = Path(__file__).with_name("misuse.py")
WRONG = {number for number, line in enumerate(MISUSE.read_text("utf-8").splitlines(), 1) if line.endswith("# wrong")}
LIMIT = 600
# What of the public names a checker knows the whole type of.
LEAST_COMPLETE = 0.99


def checked(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=REPOSITORY)
    return done.stdout + done.stderr


def pyright() -> str:
    found = shutil.which("pyright", path=str(Path(sys.executable).parent)) or shutil.which("pyright")
    if found is None:
        pytest.skip("pyright is not installed; `make lint` brings it")
    return found


def test_there_are_forty() -> None:
    assert len(WRONG) >= 40


@pytest.mark.slow  # half a minute, without a cache
def test_mypy_finds_them() -> None:
    pytest.importorskip("mypy")
    out = checked([sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", str(MISUSE)])
    assert {int(line) for line in re.findall(r"misuse\.py:(\d+): error", out)} == WRONG, out


@pytest.mark.slow
def test_pyright_finds_them() -> None:
    out = checked([pyright(), "--pythonpath", sys.executable, "--outputjson", str(MISUSE)])
    try:
        found = json.loads(out)
    except ValueError:
        pytest.skip(f"pyright does not run here: {out[:200]}")
    errors = [entry for entry in found["generalDiagnostics"] if entry["severity"] == "error"]
    assert {entry["range"]["start"]["line"] + 1 for entry in errors} == WRONG


@pytest.mark.slow
def test_public_types_are_complete() -> None:
    out = checked(
        [pyright(), "--pythonpath", sys.executable, "--verifytypes", "oxillama", "--ignoreexternal", "--outputjson"]
    )
    try:
        found = json.loads(out)
    except ValueError:
        pytest.skip(f"pyright does not run here: {out[:200]}")
    # Classes over those of frameworks are as complete as the frameworks that are installed.
    names = [one for one in found["typeCompleteness"]["symbols"] if ".integrations." not in one["name"]]
    known = [one for one in names if one["isTypeKnown"] and not one["isTypeAmbiguous"]]
    assert len(known) / len(names) >= LEAST_COMPLETE
