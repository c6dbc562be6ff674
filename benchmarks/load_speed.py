"""How long GGUF files take from a new process to the first token, and what memory that needs at most.

    python benchmarks/load_speed.py model.gguf [more.gguf ...] [--threads 2] [--peer-python /path/to/python]

Every load is a process of its own. A round loads the file with each engine in turn, after reading it once, so that the
page cache is warm for both; figures are medians over rounds, the ratio is the median of the rounds' ratios. Processor
seconds stand beside the times: they say what a busy machine hides. Writes JSON."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from oxillama import cpu_info
from oxillama._core.network.machine_probe import ReadProbe
from oxillama.gguf import GGUFFile

HERE = Path(__file__).parent
CHILDREN = {"oxillama": "load_process.py", "llama.cpp": "llama_cpp_load_process.py"}
# In this order, in seconds. `load` is until the engine is ready, `total` from the import to the first token.
TIMES = ("import", "header", "tokenizer", "load", "first token", "total", "processor")


def warm_up(path: str) -> int:
    """Reads the file once; returns its tensors' bytes."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 24):
            pass
    with GGUFFile(path) as model:
        return sum(tensor.n_bytes for tensor in model.tensors.values())


def load(name: str, python: str, model: str, threads: int) -> dict[str, float]:
    """What the child says of itself: seconds by phase, and `peak bytes`."""
    command = [python, str(HERE / CHILDREN[name]), model, str(threads)]
    found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    answer: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return answer


def measure(model: str, pythons: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    probe = ReadProbe(n_threads=args.threads)
    rounds: list[dict[str, Any]] = []
    tensor_bytes = 0
    for number in range(args.rounds):
        tensor_bytes = warm_up(model)
        entry: dict[str, Any] = {"bandwidth": probe.run()}
        for name in list(pythons)[:: 1 if number % 2 else -1]:
            entry[name] = load(name, pythons[name], model, args.threads)
        rounds.append(entry)
    return {"model": model, "threads": args.threads, "tensor_bytes": tensor_bytes, "rounds": rounds}


def summarise(result: dict[str, Any]) -> dict[str, Any]:
    rounds = result["rounds"]
    summary: dict[str, Any] = {"bandwidth": statistics.median(entry["bandwidth"] for entry in rounds)}
    for name in CHILDREN:
        if name in rounds[0]:
            summary[name] = {key: statistics.median(entry[name][key] for entry in rounds) for key in rounds[0][name]}
            summary[name]["peak / tensors"] = summary[name]["peak bytes"] / result["tensor_bytes"]
    ours = summary["oxillama"]
    packing = ours["load"] - ours["header"] - ours["tokenizer"]
    summary["packing GB/s"] = result["tensor_bytes"] / 1e9 / packing
    if "llama.cpp" in summary:
        for key in ("load", "total", "processor"):
            ratios = [entry["llama.cpp"][key] / entry["oxillama"][key] for entry in rounds]
            summary[f"{key} ratio"] = statistics.median(ratios)
    return summary


def print_summary(result: dict[str, Any], summary: dict[str, Any]) -> None:
    print(
        f"\n{Path(result['model']).name}, {result['threads']} threads, {result['tensor_bytes'] / 1e6:.0f} MB of tensors"
    )
    for name in CHILDREN:
        if name in summary:
            row = summary[name]
            times = ", ".join(f"{key} {row[key]:.3f}" for key in TIMES if key in row)
            peak = f"{row['peak bytes'] / 1e6:.0f} MB = {row['peak / tensors']:.2f} x tensors"
            print(f"  {name:<10} seconds: {times}; peak memory {peak}")
    print(f"  packing {summary['packing GB/s']:.1f} GB/s; the probe reads {summary['bandwidth']:.0f} GB/s")
    for key in ("load", "total", "processor"):
        if f"{key} ratio" in summary:
            print(f"  llama.cpp takes {summary[f'{key} ratio']:.2f} times our {key} time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", help="a Python that has llama_cpp; without it oxillama is measured alone")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "load_speed.json")
    args = parser.parse_args()
    pythons = {"oxillama": sys.executable}
    if args.peer_python:
        pythons["llama.cpp"] = args.peer_python
    report: dict[str, Any] = {"cpu": cpu_info().to_dict(), "load_average": os.getloadavg(), "results": []}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for model in args.models:
        result = measure(model, pythons, args)
        result["summary"] = summarise(result)
        report["results"].append(result)
        print_summary(result, result["summary"])
        args.output.write_text(json.dumps(report, indent=1))
    print(f"\nwrote {args.output}")


if __name__ == "__main__":
    main()
