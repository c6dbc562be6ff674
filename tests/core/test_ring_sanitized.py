"""Barrier and team in C under both sanitizers, and ring, blocks and scheduler under AddressSanitizer.

What the product's modules do between threads is test_threads_sanitized.py's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

import oxillama
from tests.sanitizer import sanitized

HERE = Path(__file__).resolve().parent
CSRC = Path(oxillama.__file__).resolve().parent / "_core" / "csrc"

pytestmark = pytest.mark.sanitizer


PROGRAMS = ["barrier_exercise", "team_exercise"]


def run_program(tmp_path: Path, name: str, *flags: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / name
    command = ["gcc", "-std=c11", "-O1", "-g", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", *flags, f"-I{CSRC}"]
    try:
        subprocess.run(
            [*command, str(HERE / f"{name}.c"), "-o", str(program), "-pthread"], check=True, capture_output=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no compiler for {' '.join(flags)}: {error}")
    # Inside `make sanitize` another sanitizer's runtime is preloaded, which does not get on with this one.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return subprocess.run([str(program)], env=environment, capture_output=True, text=True, timeout=120, check=False)


def skip_unless_it_starts(result: subprocess.CompletedProcess[str]) -> None:
    if "unexpected memory mapping" in result.stderr:
        pytest.skip("this kernel's address layout is not known to the sanitizer")


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_the_protocol_is_clean(tmp_path: Path, sanitizer: str, name: str) -> None:
    result = run_program(tmp_path, name, f"-fsanitize={sanitizer}")
    skip_unless_it_starts(result)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_sanitizer_would_notice_a_weaker_one(tmp_path: Path, name: str) -> None:
    result = run_program(tmp_path, name, "-fsanitize=thread", "-DWEAK")
    skip_unless_it_starts(result)
    assert "data race" in result.stderr


def test_ring_blocks_and_scheduler_keep_to_their_memory() -> None:
    modules = [
        "scheduling.block_table",
        "scheduling.kv_blocks",
        "scheduling.mailbox",
        "scheduling.pace",
        "scheduling.plan",
        "request",
        "ring",
        "testing.ring_harness",
        "scheduling.capacity",
        "scheduling.scheduler",
    ]
    result = sanitized([*modules, "testing.scheduler_harness"]).run("tests/core/exercise_scheduler.py")
    assert result.returncode == 0, result.stdout[-3000:]
    assert "done" in result.stdout
