"""What everything around the model costs: per request, per token, and while nothing happens.

    python benchmarks/machinery.py [--json out.json] [--plot out.png]

On a model of a few kilobytes, whose steps take microseconds: submit() until it returns; a request until its result,
read by a thread and by an asyncio task; each further token; and the processor time that an idle engine takes in 10
seconds, also under OMP_WAIT_POLICY=active, which must not matter to it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from oxillama import Engine
from oxillama.cli.bench_plot import load_matplotlib
from oxillama.testing.tiny_models import TinyModel

TINY = TinyModel(n_layers=1, n_embd=32, n_ff=32, n_head=2, n_head_kv=1, n_ctx=4096, tokenizer=True)
REPEATS = 400
LONG = 500


def microseconds(samples: list[float]) -> dict[str, float]:
    ordered = sorted(samples)
    return {"p50": 1e6 * statistics.median(ordered), "p99": 1e6 * ordered[int(0.99 * len(ordered))]}


def per_request(engine: Engine) -> dict[str, Any]:
    options: dict[str, Any] = {"max_tokens": 1, "temperature": 0, "ignore_eos": True}
    submits, results = [], []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        handle = engine.submit([5, 6, 7], **options)
        submits.append(time.perf_counter() - begin)
        handle.result()
        results.append(time.perf_counter() - begin)

    async def ask() -> list[float]:
        found = []
        for _ in range(REPEATS):
            begin = time.perf_counter()
            await engine.agenerate([5, 6, 7], **options)
            found.append(time.perf_counter() - begin)
        return found

    return {
        "submit_us": microseconds(submits),
        "request_us": microseconds(results),
        "async_request_us": microseconds(asyncio.run(ask())),
    }


def per_token(engine: Engine) -> dict[str, float]:
    """Wall time per token of one long request, the worker's own part of it, and what the reader adds."""
    options: dict[str, Any] = {"max_tokens": LONG, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    before, begin = engine.stats(), time.perf_counter()
    for _ in range(10):
        for _chunk in engine.stream([5, 6, 7], **options):
            pass
    wall = time.perf_counter() - begin
    busy = engine.stats().busy_seconds - before.busy_seconds
    n = 10 * LONG
    return {"wall_us": 1e6 * wall / n, "step_us": 1e6 * busy / n, "overhead_us": 1e6 * (wall - busy) / n}


def idle(path: str, seconds: float) -> float:
    """Processor seconds of this process while its engine has nothing to do."""
    with Engine(path, n_threads=2, progress=False) as engine:
        engine.generate([5, 6, 7], max_tokens=20, ignore_eos=True)
        time.sleep(0.5)
        before = resource.getrusage(resource.RUSAGE_SELF)
        time.sleep(seconds)
        after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def idle_under(path: str, seconds: float, **environment: str) -> float:
    command = [sys.executable, __file__, "--idle", path, "--seconds", str(seconds)]
    return float(subprocess.run(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, check=True).stdout)


def plot(found: dict[str, Any], path: Path) -> None:
    pyplot = load_matplotlib()
    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    bars = {name.removesuffix("_us"): value["p50"] for name, value in found["per_request"].items()}
    bars |= {f"token, {name.removesuffix('_us')}": value for name, value in found["per_token"].items()}
    axes.barh(list(bars), list(bars.values()))
    axes.set(xlabel="microseconds, median", title="the machinery on a model of a few kilobytes")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--seconds", type=float, default=10, help="of idling")
    parser.add_argument("--idle", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.idle:
        print(idle(arguments.idle, arguments.seconds))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/tiny.gguf"
        TINY.write(path)
        with Engine(path, n_threads=1, progress=False) as engine:
            found: dict[str, Any] = {"per_request": per_request(engine), "per_token": per_token(engine)}
        found["idle_cpu_seconds"] = {
            "default": idle_under(path, arguments.seconds),
            "OMP_WAIT_POLICY=active": idle_under(path, arguments.seconds, OMP_WAIT_POLICY="active"),
        }
    found["idle_seconds"] = arguments.seconds
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    if arguments.plot:
        plot(found, arguments.plot)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
