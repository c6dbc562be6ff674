"""Engines behind a really running local Ray: `make test-ray`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine
from oxillama.demo import demo_path

pytestmark = pytest.mark.ray

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = Path(os.environ.get("OXILLAMA_RAY_PYTHON") or Path(sys.prefix) / "ray" / "bin" / "python")


def drive(name: str, folder: Path) -> Any:
    """What a script, run in the environment of Ray, tells of its run. The package there is this checkout, compiled
    once; its version stands in the metadata of this environment's installation."""
    assert PYTHON.exists(), "`make test-ray` installs Ray"
    (metadata,) = Path(sysconfig.get_path("purelib")).glob("oxillama_engine-*.dist-info")
    (folder / metadata.name).symlink_to(metadata)
    path = os.pathsep.join([str(REPOSITORY), str(folder)])
    environment = {**os.environ, "PYTHONPATH": path, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(
        [str(PYTHON), str(Path(__file__).with_name(f"drive_{name}.py")), str(demo_path())],
        env=environment,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    # Ray writes between the lines.
    return next(json.loads(line) for line in done.stdout.splitlines() if line.startswith(("{", '["')))


@pytest.mark.timeout(600)
def test_replicas_answer_as_one_engine_does_even_when_one_dies(demo: Engine, tmp_path: Path) -> None:
    found = drive("serving", tmp_path)
    expected = [demo.generate("Once upon a time", max_tokens=24, seed=seed).text for seed in range(32)]
    assert found["texts"] == expected
    assert found["again"] == expected


@pytest.mark.timeout(600)
def test_a_thousand_rows_keep_their_order_and_their_bytes(demo: Engine, tmp_path: Path) -> None:
    found = drive("data", tmp_path)
    expected = [demo.generate("Once upon a time", max_tokens=4, seed=seed).text for seed in range(1000)]
    assert found == expected
