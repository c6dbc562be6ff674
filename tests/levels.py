"""Runs a test file again in a process of its own at another instruction-set level, which is chosen once at import."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from oxillama import cpu_info


def other_levels() -> list[Any]:
    """Parameters: the levels this machine has beside the one in use; none inside such a process.

    Those between AVX2 and the one in use are marked slow: that they compute the same bits is seen by
    tests/test_level_digests.py each time."""
    if os.environ.get("OXILLAMA_ISA"):
        return []
    between = {"avxvnni", "avx512vnni"}
    others = [level for level in cpu_info().usable if level != cpu_info().isa]
    return [pytest.param(level, marks=[pytest.mark.slow] if level in between else []) for level in others]


def check_at(level: str, file: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    environment = {**os.environ, "OXILLAMA_ISA": level}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert found.returncode == 0, found.stdout
