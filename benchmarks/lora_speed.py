"""What adapters cost: tokens per second with them and without, by turns, in one engine; and llama.cpp with one adapter.

python -m benchmarks.lora_speed [MODEL] [--peer-python PATH] [--rounds 5] [--rank 16] [--json PATH] [--plot PATH]

Without MODEL a random one of 1.2 billion parameters in Q4_0 is made under build/. The adapters are random, for all
linear layers. Ratios are medians of the rounds' own ratios. Goals: decoding one sequence with an adapter at 0.93 of the
base's speed, 16 sequences with 8 different ones at 0.85 of 16 without, prompts at 0.9; one sequence at 1.2 times
llama.cpp's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.engines import Child
from oxillama import Engine, cpu_info
from oxillama.cli.bench_plot import load_matplotlib
from oxillama.limits import default_threads
from oxillama.speed import Meter, Task, Work, context_tokens
from oxillama.testing.tiny_adapters import TinyAdapter
from tools.random_model import write_model

BUILD = Path(__file__).resolve().parents[1] / "build" / "benchmarks"
N_ADAPTERS = 8
GOALS = {"decode 1": 0.93, "decode 16": 0.85, "prefill 512": 0.9, "llama.cpp, decode 1": 1.2}
TASKS = (Task("decode", 64, 0), Task("decode", 32, 0, 16), Task("prefill", 512, 0))


def adapters_of(model: Path, rank: int) -> list[Path]:
    found = []
    for seed in range(N_ADAPTERS):
        path = BUILD / f"{model.stem}-r{rank}-{seed}.gguf"
        if not path.exists():
            TinyAdapter.of(model, rank=rank, alpha=float(rank), seed=seed, strength=0.1).write(path)
        found.append(path)
    return found


def name_of(task: Task) -> str:
    return f"{task.kind} {task.tokens if task.kind == 'prefill' else task.batch}"


def measure(model: Path, adapters: list[Path], args: argparse.Namespace) -> dict[str, Any]:
    n_ctx, work = max(map(context_tokens, TASKS)), Work.of(str(model))
    results: dict[str, Any] = {}
    options: dict[str, Any] = {"max_batch_size": 16, "kv_cache_tokens": 16 * n_ctx, "speculation": "off"}
    with Engine(model, n_ctx=n_ctx, n_threads=args.threads, **options) as engine:
        for number, path in enumerate(adapters):
            engine.load_lora(str(number), path)
        base, applied = Meter(engine, work), Meter(engine, work, [[(str(i), 1.0)] for i in range(N_ADAPTERS)])
        peer = open_peer(model, adapters[0], args)
        for task in TASKS:
            sides: dict[str, Callable[[], float]] = {
                "base": lambda task=task: base.rate(task),  # type: ignore[misc]
                "adapters": lambda task=task: applied.rate(task),  # type: ignore[misc]
            }
            if peer is not None and task.batch == 1:
                peer.prepare(task)
                sides["llama.cpp with one"] = lambda task=task: peer.rate(task)  # type: ignore[misc, union-attr]
            base.prepare(task)
            applied.prepare(task)
            rounds: dict[str, list[float]] = {name: [] for name in sides}
            for number in range(args.rounds):
                # Who comes first changes from round to round.
                for name in list(sides) if number % 2 else list(sides)[::-1]:
                    rounds[name].append(sides[name]())
            results[name_of(task)] = rounds
        if peer is not None:
            peer.close()
    return results


def open_peer(model: Path, adapter: Path, args: argparse.Namespace) -> Child | None:
    if args.peer_python is None:
        return None
    script = Path(__file__).with_name("llama_cpp_process.py")
    return Child("llama.cpp", [args.peer_python, str(script), str(model), str(args.threads), "1", str(adapter)])


def ratios(results: dict[str, Any]) -> dict[str, float]:
    found = {}
    for task, rounds in results.items():
        pairs = zip(rounds["adapters"], rounds["base"], strict=True)
        found[task] = statistics.median(applied / base for applied, base in pairs)
        if "llama.cpp with one" in rounds:
            pairs = zip(rounds["adapters"], rounds["llama.cpp with one"], strict=True)
            found[f"llama.cpp, {task}"] = statistics.median(ours / theirs for ours, theirs in pairs)
    return found


def plot(report: dict[str, Any], path: Path) -> None:
    pyplot = load_matplotlib()
    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    names = list(report["ratios"])
    axes.barh(names, list(report["ratios"].values()))
    for index, name in enumerate(names):
        if name in GOALS:
            axes.plot([GOALS[name]] * 2, [index - 0.4, index + 0.4], color="black")
    axes.set(xlabel="speed with adapters over speed without (lines: goals)", title=report["model"])
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--peer-python", help="a Python that has llama-cpp-python")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    BUILD.mkdir(parents=True, exist_ok=True)
    model = args.model or BUILD / "llama-1b-Q4_0.gguf"
    if not model.exists():
        write_model(model, "llama-1b", "Q4_0")
    results = measure(model, adapters_of(model, args.rank), args)
    report = {
        "model": model.name,
        "rank": args.rank,
        "cpu": cpu_info().to_dict(),
        "threads": args.threads,
        "goals": GOALS,
        "ratios": ratios(results),
        "tokens_per_second": results,
    }
    for name, ratio in report["ratios"].items():
        goal = f"  (goal {GOALS[name]})" if name in GOALS else ""
        print(f"{name:24} {ratio:.3f}{goal}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))
    if args.plot:
        plot(report, args.plot)


if __name__ == "__main__":
    sys.exit(main())
