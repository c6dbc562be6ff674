"""The other engines' programs, asked and understood: stand-ins that print what those print."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from oxillama.speed import Task

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"

BENCH = """
import json, sys
print(json.dumps([{"n_prompt": int(sys.argv[sys.argv.index("-p") + 1]), "avg_ts": 12.5}]))
"""
# One row for each step of the prompt, as the log has it.
SWEEP = """
import json, sys
value = lambda name: int(sys.argv[sys.argv.index(name) + 1])
print("main: n_kv_max = %d" % value("-c"), file=sys.stderr)
for n_kv in range(0, value("-c"), value("-ub")):
    row = {"pp": value("-ub"), "tg": value("-ub") // 4, "n_kv": n_kv, "speed_pp": 1000 + n_kv, "speed_tg": 10 + n_kv}
    print(json.dumps(row), file=sys.stderr)
"""
BATCHED = """
import sys
names = ["PP", "TG", "B", "N_KV", "T_PP s", "S_PP t/s", "T_TG s", "S_TG t/s", "T s", "S t/s"]
figures = [128, 24, 8, 1216, 1.5, 682.67, 0.96, 200.25, 2.46, 494.31]
for row in (names, ["-" * 8] * 10, figures):
    print("|" + "|".join(f"{cell:>8}" for cell in row) + "|", file=sys.stderr)
print("llama_print_timings: | 5 |", file=sys.stderr)
"""


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location("engines", FOLDER / "engines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    for name, code in (("llama-bench", BENCH), ("llama-sweep-bench", SWEEP), ("llama-batched-bench", BATCHED)):
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\n{code}")
        os.chmod(path, 0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("task", "rate"),
    [
        (Task("prefill", 512), 12.5),
        (Task("decode", 64), 12.5),
        (Task("prefill", 512, depth=4096), 1000 + 4096),
        (Task("decode", 128, depth=4096), 10 + 4096),
        (Task("decode", 100, depth=4000), 10 + 4000),
        (Task("decode", 24, depth=128, batch=8), 200.25),
    ],
)
def test_ik_llama_cpp_is_asked_for_each_kind_of_task(engines: Any, programs: Path, task: Task, rate: float) -> None:
    contestant = engines.IkLlamaCpp("model.gguf", 2, str(programs), repack=True)
    contestant.prepare(task)
    assert contestant.rate(task) == rate
    contestant.close()


def test_a_program_that_fails_is_told(engines: Any, tmp_path: Path) -> None:
    path = tmp_path / "llama-bench"
    path.write_text("#!/bin/sh\necho no such model >&2\nexit 3\n")
    os.chmod(path, 0o755)
    with pytest.raises(RuntimeError, match="ended with code 3: no such model"):
        engines.IkLlamaCpp("model.gguf", 2, str(tmp_path), repack=False).rate(Task("decode", 8))
