"""The choice of the instruction-set level at import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from oxillama._core.network import kernels

SHOW_LEVEL = "from oxillama._core.network import kernels; print(kernels.active_level())"


def import_with(level: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OXILLAMA_ISA": level}
    return subprocess.run([sys.executable, "-c", SHOW_LEVEL], env=environment, capture_output=True, text=True)


def test_usable_levels_are_compiled_levels_in_the_same_order() -> None:
    compiled, usable = kernels.compiled_levels(), kernels.usable_levels()
    assert usable == tuple(level for level in compiled if level in usable)
    assert usable[0] == "reference"


@pytest.mark.parametrize("level", kernels.usable_levels())
def test_environment_variable_forces_a_level(level: str) -> None:
    assert import_with(level).stdout.strip() == level


def test_without_the_variable_the_fastest_usable_level_is_chosen() -> None:
    assert import_with("").stdout.strip() == kernels.usable_levels()[-1]


@pytest.mark.parametrize("level", ["foo", "AVX2", "reference "])
def test_unknown_level_is_an_import_error_that_lists_the_usable_ones(level: str) -> None:
    result = import_with(level)
    assert result.returncode != 0
    assert "ImportError" in result.stderr
    assert all(usable in result.stderr for usable in kernels.usable_levels())
