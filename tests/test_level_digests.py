"""The levels from AVX2 up compute the same bits, whatever the operation: what one machine gives, another gives too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oxillama import cpu_info
from tests.level_digests import writers

REPOSITORY = Path(__file__).resolve().parent.parent
FUSED = [level for level in cpu_info().usable if level.startswith("avx")]


@pytest.mark.skipif("OXILLAMA_ISA" in os.environ, reason="the same at every level")
@pytest.mark.skipif(len(FUSED) < 2, reason="this processor has no two levels with fused multiply-adds and wide vectors")
def test_the_levels_agree_bit_for_bit() -> None:
    running = {
        level: subprocess.Popen(
            [sys.executable, "-m", "tests.level_digests"],
            env=os.environ | {"OXILLAMA_ISA": level},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
        for level in FUSED
    }
    found = {level: json.loads(process.communicate(timeout=280)[0]) for level, process in running.items()}
    assert all(process.returncode == 0 for process in running.values())
    first = found[FUSED[0]]
    assert set(first) == set(writers())
    for level in FUSED[1:]:
        assert {name: digest for name, digest in found[level].items() if digest != first[name]} == {}, level
