"""oxillama as a child of speed.py: MODEL THREADS BATCH; one JSON task per line in, one answer per line out."""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

from oxillama import Engine, SamplingParams


def prompt_of(engine: Engine, n: int, seed: int) -> list[int]:
    chosen = random.Random(seed)
    return [chosen.randrange(engine.n_vocab) for _ in range(n)]


def prefill(engine: Engine, n: int, seed: int) -> float:
    params = SamplingParams(max_tokens=1, temperature=0, cache_prompt=False)
    return n / engine.generate(prompt_of(engine, n, seed), params).timings.prefill


def decode(engine: Engine, n: int, batch: int) -> float:
    """All sequences together, from when each has its first token until the first is done."""
    params = SamplingParams(max_tokens=n + 1, temperature=0, ignore_eos=True, cache_prompt=False)
    requests = [engine.submit(prompt_of(engine, 8 if batch == 1 else 128, seed), params) for seed in range(batch)]
    while not all(request.usage.completion_tokens for request in requests):
        time.sleep(0.0005)
    begin, before = time.perf_counter(), sum(request.usage.completion_tokens for request in requests)
    for request in requests:
        request.result()
    return (batch * (n + 1) - before) / (time.perf_counter() - begin)


def main() -> None:
    model, threads, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    begin = time.perf_counter()
    with Engine(model, n_threads=threads, n_ctx=4096, max_batch_size=batch, progress=False) as engine:
        print(json.dumps({"load_seconds": time.perf_counter() - begin}), flush=True)
        for seed, line in enumerate(sys.stdin):
            task: dict[str, Any] = json.loads(line)
            if task["task"] == "prefill":
                rate = prefill(engine, task["tokens"], seed)
            else:
                rate = decode(engine, task["tokens"], task["batch"])
            print(json.dumps({"tokens_per_second": rate}), flush=True)


if __name__ == "__main__":
    main()
