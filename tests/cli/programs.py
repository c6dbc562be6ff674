"""Runs the command as a shell would, with a clean environment and a time limit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
LIMIT = 90  # seconds


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "oxillama", *arguments]


def environment(**changes: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OXILLAMA_")}
    kept = {name: os.environ[name] for name in ("OXILLAMA_ISA",) if name in os.environ}
    return inherited | kept | {"PYTHONPATH": str(REPOSITORY)} | changes


def run(*arguments: str, stdin: str | bytes = "", **changes: str) -> subprocess.CompletedProcess[str]:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        command(*arguments), input=data, env=environment(**changes), capture_output=True, timeout=LIMIT
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
