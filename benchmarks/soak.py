"""Random work at full speed for a long time, then a count: nothing leaks, nothing stays, every request ends once.

    python benchmarks/soak.py [--seconds 600] [--model model.gguf] [--threads 2]

Threads, asyncio and trio generate, stream, embed, score, cancel, disconnect and drop what they hold, with a small queue
and a KV cache so small that requests are preempted. Memory is compared between the end of the first fifth and the end.
Prints JSON; exit code 1 when something is left or has grown."""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio

from oxillama import DeadlineExceeded, Engine, QueueFullError, RequestCancelled
from oxillama.demo import demo_path

TEXT = "once upon a time there was a small red fox who had a hat and liked to run by the sea"
# What may be kept by allocators and caches of the interpreter; a leak at thousands of requests a second exceeds it.
MAX_GROWTH = 24 << 20


class Soak:
    """The counts that everybody adds to, and the time when all stop."""

    def __init__(self, engine: Engine, seconds: float) -> None:
        self.engine = engine
        self.end = time.monotonic() + seconds
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self._lock = threading.Lock()

    def count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.end and not self.errors

    def options(self, chosen: random.Random) -> dict[str, Any]:
        return {
            "max_tokens": chosen.choice([0, 1, 5, 40, 150]),
            "temperature": chosen.choice([0, 0.8]),
            "seed": chosen.randrange(1000),
            "stop": chosen.choice([(), (".",)]),
            "n": chosen.choice([1, 1, 1, 3]),
            "logprobs": chosen.choice([None, None, 2]),
            "prompt_logprobs": chosen.choice([None, None, None, 1]),
            "cache_prompt": chosen.random() < 0.8,
            "priority": chosen.choice([0, 0, 1]),
            "deadline": chosen.choice([None, None, 0.02, 5]),
            "queue_timeout": chosen.choice([0, 0.01, None]),
        }

    def prompt(self, chosen: random.Random) -> str:
        return " ".join(chosen.choices(TEXT.split(), k=chosen.randint(1, 80)))

    def synchronous(self, seed: int) -> None:
        chosen = random.Random(seed)
        while self.goes_on:
            try:
                self._step(chosen)
            except (QueueFullError, RequestCancelled, DeadlineExceeded) as error:
                self.count(type(error).__name__)
            except Exception as error:
                self.errors.append(repr(error))

    def _step(self, chosen: random.Random) -> None:
        prompt, options = self.prompt(chosen), self.options(chosen)
        match chosen.randrange(6):
            case 0:
                self.engine.embed([prompt, "a fox"])
                self.count("embedded")
            case 1:
                self.engine.generate(prompt, **options)
                self.count("generated")
            case 2:
                with self.engine.stream(prompt, **options) as stream:
                    for _, _chunk in zip(range(chosen.randrange(20)), stream, strict=False):
                        pass
                self.count("disconnected")
            case 3:
                handle = self.engine.submit(prompt, **options)
                time.sleep(chosen.uniform(0, 0.005))
                handle.cancel()
                self.count("cancelled")
            case 4:
                self.engine.submit(prompt, **options)
                self.count("dropped")
            case 5:
                for _ in self.engine.stream(prompt, **options):
                    pass
                self.count("streamed")

    async def asynchronous(self, seed: int) -> None:
        chosen = random.Random(seed)
        while self.goes_on:
            try:
                await self._astep(chosen)
            except (QueueFullError, RequestCancelled, DeadlineExceeded) as error:
                self.count(type(error).__name__)
                await anyio.sleep(0)
            except Exception as error:
                self.errors.append(repr(error))

    async def _astep(self, chosen: random.Random) -> None:
        prompt, options = self.prompt(chosen), self.options(chosen)
        with anyio.move_on_after(chosen.choice([0.001, 0.01, 0.05, 10])) as scope:
            match chosen.randrange(3):
                case 0:
                    await self.engine.aembed([prompt])
                    self.count("embedded")
                case 1:
                    await self.engine.agenerate(prompt, **options)
                    self.count("generated")
                case 2:
                    async with self.engine.astream(prompt, **options) as stream:
                        async for _ in stream:
                            if chosen.random() < 0.05:
                                break
                    self.count("streamed")
        if scope.cancelled_caught:
            self.count("task cancelled")

    async def crowd(self, seed: int) -> None:
        async with anyio.create_task_group() as tasks:
            for i in range(8):
                tasks.start_soon(self.asynchronous, seed + i)


def resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def soak(path: str | Path, seconds: float, n_threads: int) -> dict[str, Any]:
    """Runs it; the result says what was done, and under "wrong" what should not be."""
    options = {"n_threads": n_threads, "queue_size": 16, "max_batch_size": 8, "kv_cache_tokens": 24 * 32, "n_ctx": 512}
    with Engine(path, progress=False, **options) as engine:  # type: ignore[arg-type]
        blocks = engine.stats().kv_blocks_free
        work = Soak(engine, seconds)
        threads = [threading.Thread(target=work.synchronous, args=(seed,)) for seed in range(4)]
        threads += [
            threading.Thread(target=anyio.run, args=(work.crowd, 100 * (i + 1)), kwargs={"backend": backend})
            for i, backend in enumerate(("asyncio", "trio"))
        ]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 5)
        early = resident()
        samples = [early]
        while work.goes_on:
            time.sleep(max(0.1, min(10.0, seconds / 20)))
            samples.append(resident())
        for thread in threads:
            thread.join(60)
        wrong = list(work.errors)
        wrong += ["a thread hangs" for thread in threads if thread.is_alive()]
        gc.collect()
        idle_by = time.monotonic() + 20
        stats = engine.stats()
        while stats.queue_depth + stats.running + stats.waiting + stats.kv_blocks_used and time.monotonic() < idle_by:
            time.sleep(0.01)
            stats = engine.stats()
        left = stats.queue_depth + stats.running + stats.waiting + stats.kv_blocks_used
        if left or stats.kv_blocks_free + stats.kv_blocks_cached != blocks:
            wrong.append(f"left behind: {stats}")
        if engine._worker.stats()["num_added"] != stats.finished:
            wrong.append(f"{engine._worker.stats()['num_added']} requests entered, {stats.finished} ended")
        growth = resident() - early
        if growth > MAX_GROWTH:
            wrong.append(f"memory grew by {growth:,} bytes")
    return {
        "seconds": seconds,
        "counts": dict(work.counts),
        "requests": stats.finished,
        "preemptions": stats.preemptions,
        "output_tokens": stats.output_tokens,
        "resident_mb": [round(sample / 1e6, 1) for sample in samples],
        "growth_mb": growth / 1e6,
        "wrong": wrong,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--model", default=str(demo_path()))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    found = soak(arguments.model, arguments.seconds, arguments.threads)
    print(json.dumps(found, indent=1))
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
