"""Prefill and decode speed of GGUF files, beside this machine's limits and, where llama_cpp can be imported, llama.cpp.

    python benchmarks/speed.py model.gguf [more.gguf ...] [--threads 1,2] [--peer-python /path/to/python]

Every engine runs in a process of its own. A round asks each of them in turn for the same thing, with a bandwidth probe
before it, so that a change of the machine hits all alike; figures are medians over rounds, ratios medians of the
rounds' ratios. Writes JSON and a plot."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from oxillama import cpu_info
from oxillama._core.machine_probe import ReadProbe, int8_rate
from oxillama.gguf import GGUFFile

HERE = Path(__file__).parent
ENGINES = {"oxillama": "engine_process.py", "llama.cpp": "llama_cpp_process.py"}
# A round whose probes before and after differ by more than this says nothing about ratios.
NOISE = 0.3


class Child:
    """An engine in a process of its own, asked over a pipe: one JSON line each way."""

    def __init__(self, name: str, python: str, model: str, threads: int, batch: int) -> None:
        self.name = name
        command = [python, str(HERE / ENGINES[name]), model, str(threads), str(batch)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.load_seconds = float(self._answer()["load_seconds"])

    def ask(self, **task: Any) -> float:
        """Tokens per second."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return float(self._answer()["tokens_per_second"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def has_peer(python: str) -> bool:
    found = subprocess.run([python, "-c", "import llama_cpp"], capture_output=True, check=False)
    return found.returncode == 0


def work_of(path: str) -> dict[str, float]:
    """Bytes read per decoded token, and operations per prefilled token (a multiply-add is two)."""
    with GGUFFile(path) as file:
        tied = "output.weight" not in file.tensors
        n_bytes = operations = 0
        for name, tensor in file.tensors.items():
            if name == "token_embd.weight" and not tied:
                continue
            n_bytes += tensor.n_bytes
            if name.startswith("blk.") and tensor.n_dims == 2:
                operations += 2 * tensor.n_elements
    return {"decode_gigabytes": n_bytes / 1e9, "prefill_gigaoperations": operations / 1e9}


@contextmanager
def engines(model: str, threads: int, batch: int, peer_python: str | None) -> Iterator[list[Child]]:
    with ExitStack() as stack:
        children = []
        for name, python in (("oxillama", sys.executable), ("llama.cpp", peer_python)):
            if python is not None:
                child = Child(name, python, model, threads, batch)
                stack.callback(child.close)
                children.append(child)
        yield children


def measure(model: str, threads: int, args: argparse.Namespace, peer_python: str | None) -> dict[str, Any]:
    probe = ReadProbe(n_threads=threads)
    tasks: dict[str, dict[str, Any]] = {
        f"prefill {args.prefill}": {"task": "prefill", "tokens": args.prefill},
        f"decode {args.decode}": {"task": "decode", "tokens": args.decode, "batch": 1},
    }
    for batch in args.batches:
        tasks[f"decode {args.decode} x {batch}"] = {"task": "decode", "tokens": args.decode, "batch": batch}
    rounds: list[dict[str, Any]] = []
    with engines(model, threads, max([1, *args.batches]), peer_python) as children:
        for number in range(-1, args.rounds):  # the first one warms up
            for label, task in tasks.items():
                before = probe.run()
                order = children if number % 2 else children[::-1]
                found = {child.name: child.ask(**task) for child in order}
                after = probe.run()
                if number >= 0:
                    rounds.append(
                        {"task": label, "bandwidth": (before + after) / 2, "probes": [before, after], **found}
                    )
                time.sleep(0.1)
        loads = {child.name: child.load_seconds for child in children}
    return {"model": model, "threads": threads, "load_seconds": loads, "rounds": rounds, "tasks": list(tasks)}


def summarise(result: dict[str, Any], peak: float) -> list[dict[str, Any]]:
    work = work_of(result["model"])
    rows = []
    for task in result["tasks"]:
        rounds = [entry for entry in result["rounds"] if entry["task"] == task]
        ours = statistics.median(entry["oxillama"] for entry in rounds)
        row: dict[str, Any] = {"task": task, "oxillama": ours}
        bandwidth = statistics.median(entry["bandwidth"] for entry in rounds)
        if task.startswith("prefill"):
            row["GOP/s"] = ours * work["prefill_gigaoperations"]
            row["of peak"] = row["GOP/s"] / peak if peak else None
        elif " x " not in task:
            row["GB/s"] = ours * work["decode_gigabytes"]
            row["of bandwidth"] = statistics.median(
                entry["oxillama"] * work["decode_gigabytes"] / entry["bandwidth"] for entry in rounds
            )
        row["bandwidth"] = bandwidth
        if "llama.cpp" in rounds[0]:
            row["llama.cpp"] = statistics.median(entry["llama.cpp"] for entry in rounds)
            quiet = [entry for entry in rounds if _is_quiet(entry)]
            row["quiet rounds"] = len(quiet)
            ratios = [entry["oxillama"] / entry["llama.cpp"] for entry in quiet]
            row["ratio"] = statistics.median(ratios) if len(ratios) >= 3 else None
        rows.append(row)
    return rows


def _is_quiet(entry: dict[str, Any]) -> bool:
    low, high = sorted(entry["probes"])
    return high <= low * (1 + NOISE)


def print_rows(result: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    print(f"\n{Path(result['model']).name}, {result['threads']} threads, loaded in {result['load_seconds']}")
    for row in rows:
        parts = [f"{row['task']:<16} {row['oxillama']:8.1f} tokens/s"]
        if "GOP/s" in row:
            share = "" if row["of peak"] is None else f" = {row['of peak']:.0%} of the int8 peak"
            parts.append(f"{row['GOP/s']:.0f} GOP/s{share}")
        if "GB/s" in row:
            parts.append(f"{row['GB/s']:.1f} GB/s = {row['of bandwidth']:.0%} of the probe's {row['bandwidth']:.0f}")
        if "llama.cpp" in row:
            ratio = "too noisy for a ratio" if row["ratio"] is None else f"ratio {row['ratio']:.2f}"
            parts.append(f"llama.cpp {row['llama.cpp']:.1f}, {ratio} ({row['quiet rounds']} quiet rounds)")
        print("  " + "; ".join(parts))


def plot(report: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = [(result, row) for result in report["results"] for row in result["summary"]]
    figure, axes = pyplot.subplots(figsize=(8, 0.6 + 0.5 * len(groups)), layout="constrained")
    labels = [f"{Path(result['model']).stem}\n{row['task']}, {result['threads']} threads" for result, row in groups]
    places = range(len(groups))
    axes.barh([place - 0.2 for place in places], [row["oxillama"] for _, row in groups], 0.38, label="oxillama")
    peers = [
        (place + 0.2, row["llama.cpp"]) for place, (_, row) in zip(places, groups, strict=True) if "llama.cpp" in row
    ]
    if peers:
        axes.barh(*zip(*peers, strict=True), 0.38, label="llama.cpp")
    axes.set_yticks(list(places), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("tokens per second")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, by commas (default: 1,2)")
    parser.add_argument("--prefill", type=int, default=512, metavar="TOKENS")
    parser.add_argument("--decode", type=int, default=128, metavar="TOKENS")
    parser.add_argument("--batches", default="", help="also decode this many sequences together, by commas")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--peer-python", default=sys.executable, help="the Python that has llama_cpp (default: this one)"
    )
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "speed.json")
    args = parser.parse_args()
    args.batches = [int(batch) for batch in args.batches.split(",") if batch]
    peer = None if args.no_peer or not has_peer(args.peer_python) else args.peer_python
    if peer is None:
        print("llama_cpp is not importable: measuring oxillama alone", file=sys.stderr)
    info = cpu_info()
    report: dict[str, Any] = {"cpu": info.to_dict(), "load_average": os.getloadavg(), "results": []}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    for model in args.models:
        for threads in (int(n) for n in args.threads.split(",")):
            peak = int8_rate(n_threads=threads)
            result = measure(model, threads, args, peer)
            result |= {"int8_peak": peak, "summary": summarise(result, peak)}
            report["results"].append(result)
            print_rows(result, result["summary"])
            args.output.write_text(json.dumps(report, indent=1))
    try:
        plot(report, args.output.with_suffix(".png"))
    except ImportError:
        print("matplotlib is not installed: no plot", file=sys.stderr)
    print(f"\nwrote {args.output}")


if __name__ == "__main__":
    main()
