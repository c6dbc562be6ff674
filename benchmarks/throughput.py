"""Tokens per second of all requests together, by how many run at once, through the Engine API and beside llama.cpp.

    python benchmarks/throughput.py model.gguf [more.gguf ...] [--peer-python /path/to/python] [--json out.json]
                                    [--plot out.png]

Every engine has a process of its own; a round asks each in turn for the same decode, and us for a prefill of 512
tokens, whose rate is the limit of what batching can reach. Figures are medians over rounds, ratios medians of the
rounds' ratios. compare.py measures the same with probes of the machine; this one goes up to 32 requests and draws the
curve."""

from __future__ import annotations

import argparse
import json
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import engines

from oxillama.cli.bench_plot import load_matplotlib
from oxillama.limits import default_threads
from oxillama.speed import Task, context_tokens


def measure(model: str, batches: list[int], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    decodes = [Task("decode", arguments.tokens, 128, batch) for batch in batches]
    prefill = Task("prefill", 512)
    context = max(context_tokens(task) for task in [*decodes, prefill])
    rates: dict[tuple[str, int], list[float]] = {}
    with ExitStack() as stack:
        contestants: list[engines.Contestant] = [engines.oxillama(model, arguments.threads, max(batches), context)]
        if arguments.peer_python and engines.can_import_llama_cpp(arguments.peer_python):
            contestants.append(engines.llama_cpp(arguments.peer_python, model, arguments.threads, repack=True))
        for contestant in contestants:
            stack.callback(contestant.close)
        for task in decodes:
            for contestant in contestants:
                contestant.prepare(task)
            for _ in range(arguments.rounds):
                for contestant in contestants:
                    rates.setdefault((contestant.name, task.batch), []).append(contestant.rate(task))
                rates.setdefault(("prefill", task.batch), []).append(contestants[0].rate(prefill))
    rows = []
    for batch in batches:
        ours, limit = rates["oxillama", batch], rates["prefill", batch]
        row: dict[str, Any] = {
            "model": Path(model).name,
            "requests": batch,
            "tokens_per_second": statistics.median(ours),
            "share_of_prefill": statistics.median(a / b for a, b in zip(ours, limit, strict=True)),
        }
        if ("llama.cpp", batch) in rates:
            theirs = rates["llama.cpp", batch]
            row["llama_cpp_tokens_per_second"] = statistics.median(theirs)
            row["ratio"] = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    pyplot = load_matplotlib()
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for model in dict.fromkeys(row["model"] for row in rows):
        of_model = [row for row in rows if row["model"] == model]
        for key, style in (("tokens_per_second", "o-"), ("llama_cpp_tokens_per_second", "x--")):
            points = [(row["requests"], row[key]) for row in of_model if key in row]
            if points:
                name = "oxillama" if key == "tokens_per_second" else "llama.cpp"
                axes.plot(*zip(*points, strict=True), style, label=f"{name}, {model}")
    axes.set(xlabel="requests at once", ylabel="tokens per second, all together", xscale="log")
    axes.set_xticks(sorted({row["requests"] for row in rows}), [str(n) for n in sorted({r["requests"] for r in rows})])
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--requests", default="1,2,4,8,16,32", help="how many at once")
    parser.add_argument("--tokens", type=int, default=32, help="decoded by each request")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--peer-python", help="an interpreter with llama-cpp-python")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    batches = [int(n) for n in arguments.requests.split(",")]
    rows = [row for model in arguments.models for row in measure(model, batches, arguments)]
    if arguments.json:
        arguments.json.write_text(json.dumps({"threads": arguments.threads, "rows": rows}, indent=1))
    if arguments.plot:
        plot(rows, arguments.plot)


if __name__ == "__main__":
    main()
