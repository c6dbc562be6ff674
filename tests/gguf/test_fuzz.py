from __future__ import annotations

from pathlib import Path

import pytest

from tests.sanitizer import SanitizedBuild, sanitized

MODULES = ["gguf.filemap", "gguf.ggml_types", "gguf.file", "gguf.scan", "gguf.values"]

# The first test builds: as long as that takes.
pytestmark = [pytest.mark.sanitizer, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def build() -> SanitizedBuild:
    return sanitized(MODULES)


@pytest.mark.parametrize("seed", [1, 2])
def test_damaged_files(build: SanitizedBuild, seed: int) -> None:
    result = build.run("tests/fuzz_gguf.py", str(seed), "12000", allocation_limit_mb=16)
    assert result.returncode == 0, result.stdout[-6000:]
    # The mutations must reach behind the header checks, or nothing has been tested.
    n_files, _, outcomes = result.stdout.strip().splitlines()[-1].partition(" files: ")
    counts = {name: int(count) for count, _, name in (part.partition(" ") for part in outcomes.split(", "))}
    assert int(n_files) == 12000
    assert counts["refused"] > 6000
    assert counts["read"] > 600
    assert counts["changed while open"] == 3000


def test_the_sanitizer_is_on(build: SanitizedBuild, tmp_path: Path) -> None:
    script = tmp_path / "overrun.py"
    script.write_text(
        "import ctypes\n"
        "from oxillama._core.gguf.filemap import FileMap\n"
        "import numpy as np\n"
        "view = np.frombuffer(FileMap.of_bytes(bytes(100)), np.uint8)\n"
        "ctypes.string_at(view.ctypes.data, 101)\n"
    )
    result = build.run(script)
    assert result.returncode != 0
    assert "heap-buffer-overflow" in result.stdout
