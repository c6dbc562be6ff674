"""The soak of benchmarks/soak.py, briefly; the whole of it is `make soak`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "soak.py"


def run(seconds: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--seconds", str(seconds)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)


@pytest.mark.slow
def test_twenty_seconds_of_random_work_leave_nothing() -> None:
    assert importlib.util.find_spec("trio") is not None
    done = run(20)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert found["requests"] > 100
    assert {"generated", "streamed", "embedded", "disconnected", "dropped"} <= set(found["counts"])
