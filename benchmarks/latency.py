"""What a long prompt does to those who are being answered, and how soon a cancelled request gives back its blocks.

    python benchmarks/latency.py model.gguf [--sequences 8] [--prompt 4096] [--max-step-ms 100] [--json out.json]
                                 [--plot out.png]

Gaps between tokens as the worker shows them, of `sequences` requests that decode: first undisturbed, then from the
moment a prompt arrives until its first token. The goal: p99 at most max_step_ms plus twice the undisturbed median.
Cancelling is timed from the call until no block is held, for requests that decode and in the middle of a prompt."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oxillama import Engine, RequestHandle, SamplingParams
from oxillama.cli.bench_plot import load_matplotlib
from oxillama.limits import default_threads
from oxillama.speed import random_tokens

POLL_SECONDS = 0.0002
CANCELS = 10


class Gaps:
    """Times between tokens of several requests, by looking at their counts. No gap is left out: one that is open at the
    end of a phase belongs to the next."""

    def __init__(self, handles: list[RequestHandle]) -> None:
        self._handles = handles
        self._counts = [handle.usage.completion_tokens for handle in handles]
        # None: the first gap of each began before anybody looked.
        self._last: list[float | None] = [None] * len(handles)

    def until(self, done: Callable[[], bool]) -> list[float]:
        gaps = []
        is_done = False
        while not is_done:
            is_done = done()  # before the last look, which then sees the tokens of the step that ended it
            now = time.perf_counter()
            for i, handle in enumerate(self._handles):
                count = handle.usage.completion_tokens
                if count > self._counts[i]:
                    before = self._last[i]
                    if before is not None:
                        gaps.append((now - before) / (count - self._counts[i]))
                    self._counts[i], self._last[i] = count, now
            time.sleep(POLL_SECONDS)
        return gaps


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def in_milliseconds(seconds: list[float]) -> dict[str, float]:
    return {
        "p50": 1e3 * statistics.median(seconds),
        "p99": 1e3 * quantile(seconds, 0.99),
        "max": 1e3 * max(seconds),
        "n": len(seconds),
    }


def seconds_to_free(engine: Engine, handles: list[RequestHandle]) -> float:
    begin = time.perf_counter()
    for handle in handles:
        handle.cancel()
    while engine.stats().kv_blocks_used:
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - begin


def measure(engine: Engine, sequences: int, n_prompt: int, seconds: float) -> dict[str, Any]:
    def prompt(n: int, seed: str) -> list[int]:
        return random_tokens(engine.n_vocab, n, seed)

    endless = SamplingParams(temperature=0, ignore_eos=True, cache_prompt=False)
    handles = [engine.submit(prompt(64, f"decode {i}"), endless) for i in range(sequences)]
    while not all(handle.usage.completion_tokens > 2 for handle in handles):
        time.sleep(0.01)
    gaps = Gaps(handles)
    until = time.perf_counter() + seconds
    undisturbed = gaps.until(lambda: time.perf_counter() > until)
    begin = time.perf_counter()
    intruder = engine.submit(prompt(n_prompt, "intruder"), endless.replace(max_tokens=1))
    disturbed = gaps.until(lambda: intruder.done)
    intruder_seconds = time.perf_counter() - begin
    frees: dict[str, list[float]] = {"decoding": [seconds_to_free(engine, handles)], "prefilling": []}
    for i in range(CANCELS):
        handles = [engine.submit(prompt(64, f"decode {i} {j}"), endless) for j in range(sequences)]
        while not all(handle.usage.completion_tokens > 2 for handle in handles):
            time.sleep(0.01)
        frees["decoding"].append(seconds_to_free(engine, handles))
        in_prefill = engine.submit(prompt(n_prompt, f"cancelled {i}"), endless)
        time.sleep(0.2 + 0.05 * i)  # at another place of a step each time
        frees["prefilling"].append(seconds_to_free(engine, [in_prefill]))
    return {
        "undisturbed_ms": in_milliseconds(undisturbed),
        "disturbed_ms": in_milliseconds(disturbed),
        "prompt_tokens_per_second": n_prompt / intruder_seconds,
        "cancel_to_free_ms": {name: in_milliseconds(seconds) for name, seconds in frees.items()},
        "gaps_ms": {"undisturbed": [1e3 * gap for gap in undisturbed], "disturbed": [1e3 * gap for gap in disturbed]},
    }


def plot(found: dict[str, Any], path: Path) -> None:
    pyplot = load_matplotlib()
    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for name, gaps in found["gaps_ms"].items():
        ordered = sorted(gaps)
        axes.step(ordered, [(i + 1) / len(ordered) for i in range(len(ordered))], label=name)
    axes.axvline(found["goal_ms"], color="black", linestyle=":", label="goal for p99")
    axes.set(xlabel="gap between tokens, ms", ylabel="share of gaps", title=found["model"], xscale="log")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--prompt", type=int, default=4096, help="tokens of the intruder")
    parser.add_argument("--max-step-ms", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=5, help="of undisturbed decoding")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    with Engine(
        arguments.model,
        n_threads=arguments.threads,
        n_ctx=arguments.prompt + 4096,
        kv_cache_tokens=2 * arguments.prompt + 4096 + arguments.sequences * 1024,
        max_step_ms=arguments.max_step_ms,
        speculation="off",
        progress=False,
    ) as engine:
        found = measure(engine, arguments.sequences, arguments.prompt, arguments.seconds)
    found["model"], found["threads"] = Path(arguments.model).name, arguments.threads
    found["goal_ms"] = arguments.max_step_ms + 2 * found["undisturbed_ms"]["p50"]
    found["reached"] = found["disturbed_ms"]["p99"] <= found["goal_ms"]
    if arguments.json:
        arguments.json.write_text(json.dumps(found))
    if arguments.plot:
        plot(found, arguments.plot)
    print(json.dumps({key: value for key, value in found.items() if key != "gaps_ms"}, indent=1))


if __name__ == "__main__":
    main()
