"""Times the compiled sampler on one thread, for settings people use, and prints JSON.

    python benchmarks/sampler_speed.py [--n-vocab 128256] [--repeats 200] [--json FILE]

Cases are interleaved, so that a disturbance of the machine hits all of them; figures are microseconds per token. A
full NumPy sort of the same row is timed along as a yardstick. The rows are synthetic: "flat" is plain noise, where cuts
keep many tokens; "equal" has one logit only, where a draw can leave out nobody; "peaked" has the noise of a model's
tail and a few outstanding tokens, like most steps of a real one; "ascending" is sorted, the worst order for a running
selection.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oxillama import SamplingParams
from oxillama._core.sampling.sampler import SamplerMemory

TRUNCATED = "top-k 40, top-p 0.95, temperature 0.8"
UNTRUNCATED = "temperature 0.8"
# Microseconds that the slowest row of a case may take.
TARGETS = {TRUNCATED: 300.0, UNTRUNCATED: 250.0}

CASES: dict[str, SamplingParams] = {
    TRUNCATED: SamplingParams(top_k=40, top_p=0.95, temperature=0.8, seed=1),
    "greedy": SamplingParams(temperature=0, seed=1),
    "greedy, one token banned": SamplingParams(temperature=0, banned_tokens=(2,), seed=1),
    "top-k 40, one token banned": SamplingParams(top_k=40, banned_tokens=(2,), seed=1),
    UNTRUNCATED: SamplingParams(temperature=0.8, seed=1),
    "temperature 0.2": SamplingParams(temperature=0.2, seed=1),
    "top-p 0.95": SamplingParams(top_p=0.95, seed=1),
    "min-p 0.05": SamplingParams(min_p=0.05, seed=1),
    "typical 0.95": SamplingParams(typical_p=0.95, seed=1),
    "top-n-sigma 1.5": SamplingParams(top_n_sigma=1.5, seed=1),
    "mirostat 2": SamplingParams(mirostat=2, seed=1),
    "top-k 40, repetition penalty 1.1": SamplingParams(top_k=40, repetition_penalty=1.1, seed=1),
    "top-k 40, DRY 0.8": SamplingParams(top_k=40, dry_multiplier=0.8, dry_sequence_breakers=[[13]], seed=1),
    "top-k 40, 20 logprobs": SamplingParams(top_k=40, logprobs=20, seed=1),
}


def logit_rows(n_vocab: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    flat = rng.normal(0, 2, n_vocab).astype(np.float32)
    peaked = rng.normal(0, 2.2, n_vocab).astype(np.float32)
    outstanding = rng.integers(0, n_vocab, 50)
    peaked[outstanding] = rng.uniform(8, 20, 50).astype(np.float32)
    return {"flat": flat, "equal": np.zeros_like(flat), "peaked": peaked, "ascending": np.sort(flat)}


def measure(n_vocab: int, repeats: int, n_history: int) -> dict[str, dict[str, float]]:
    memory = SamplerMemory(n_vocab, n_history)
    prompt = np.empty(0, dtype=np.int32)
    output = np.random.default_rng(1).integers(0, n_vocab, n_history).astype(np.int32)
    work: dict[tuple[str, str], Callable[[int], object]] = {}
    for row_name, row in logit_rows(n_vocab).items():
        for case, params in CASES.items():
            compiled = params.resolve(n_vocab=n_vocab)

            def run(i: int, row: NDArray[np.float32] = row, compiled: object = compiled) -> object:
                return memory.sample(compiled, row, prompt, output, choice=0, position=i, mu=10.0)  # type: ignore[arg-type]

            work[case, row_name] = run
        work["(NumPy argsort)", row_name] = lambda i, row=row: np.argsort(row)  # type: ignore[misc]
    times: dict[tuple[str, str], list[float]] = {key: [] for key in work}
    for i in range(repeats):
        for key, run in work.items():
            if key[0].startswith("(") and i % 10:
                continue
            start = time.perf_counter()
            run(i)
            times[key].append((time.perf_counter() - start) * 1e6)
    result: dict[str, dict[str, float]] = {}
    for (case, row_name), values in times.items():
        result.setdefault(case, {})[row_name] = round(statistics.median(values), 1)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-vocab", type=int, default=128_256)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--n-history", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="write the result here as well")
    options = parser.parse_args()
    cases = measure(options.n_vocab, options.repeats, options.n_history)
    report = {
        "benchmark": "sampler_speed",
        "machine": platform.processor() or platform.machine(),
        "load_average": os.getloadavg()[0],
        "n_vocab": options.n_vocab,
        "n_history": options.n_history,
        "unit": "microseconds per token, median",
        "cases": cases,
        "targets": {
            case: {"limit": limit, "met": max(cases[case].values()) <= limit} for case, limit in TARGETS.items()
        },
    }
    text = json.dumps(report, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0 if all(max(cases[case].values()) <= limit for case, limit in TARGETS.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
