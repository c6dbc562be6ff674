"""oxillama as a child of compare.py: MODEL THREADS BATCH CONTEXT. A JSON task per line in, an answer per line out."""

from __future__ import annotations

import json
import sys

from oxillama import Engine, cpu_info
from oxillama.speed import Meter, Task, Work


def main() -> None:
    model, (threads, batch, context) = sys.argv[1], map(int, sys.argv[2:])
    room = context * batch  # no sequence gives way to another, and none is computed again
    with Engine(
        model,
        n_threads=threads,
        n_ctx=context,
        max_batch_size=batch,
        kv_cache_tokens=room,
        prefix_cache_tokens=room,
        speculation="off",
        progress=False,
    ) as engine:
        print(json.dumps({"build": cpu_info().isa}), flush=True)
        meter = Meter(engine, Work.of(model))
        for line in sys.stdin:
            asked = json.loads(line)
            task = Task(**asked["task"])
            if asked["prepare"]:
                meter.prepare(task)
                answer: dict[str, float] = {}
            else:
                answer = {"tokens_per_second": meter.rate(task)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
