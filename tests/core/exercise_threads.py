"""Everything that lies between threads, at work, as a script for a build under ThreadSanitizer.

The ring is driven by native threads, and so is what the worker writes for each request: it never takes the GIL, so what
Python's threads read of it, they read beside it. They poll as well as sleep, since a wait orders more than a look does.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import anyio

from oxillama import Engine, RequestCancelled
from oxillama._core.constraint import Constraint
from oxillama._core.testing.constraint_harness import Sieve
from oxillama._core.testing.ring_harness import RequestRing, stress

PROMPTS = ["Once upon a time", "One day", "The little dog", "x"]


class Even:
    def constraint(self, n_vocab: int, end_tokens: Sequence[int]) -> Constraint:
        return Sieve(n_vocab, modulus=2, remainders=(0,), ends=end_tokens)


def drive_the_ring() -> None:
    for queue_size, n_producers, group in [(1, 2, 1), (8, 3, 3), (64, 2, 1)]:
        report = stress(RequestRing(queue_size), n_producers, 1_000, group=group)
        assert report["taken"] == report["accepted"] == 1_000 * n_producers
        assert report["out_of_order"] == report["slow_sleeps"] == 0
    report = stress(RequestRing(8), 2, 0, group=2, close_after=200)
    assert report["taken"] == report["accepted"] >= 200


def drive_the_engine(n_threads: int) -> None:
    """Every way to wait, at once, in a queue that is too small for them."""
    with Engine.demo(n_threads=n_threads, max_batch_size=3, queue_size=3, progress=False) as engine:

        def poll(i: int) -> str:
            # Looks without a pause, and never sleeps at the request: nothing but what is published orders its reads.
            handle = engine.submit(
                PROMPTS[i % 4], max_tokens=24, temperature=0.8, seed=i, logprobs=2, queue_timeout=None
            )
            text = []
            finished = False
            while not finished:
                events, rest, finished = handle.handles[0].take()
                text += [event.text for event in events] + [rest]
            return "".join(text)

        def sleep(i: int) -> str:
            return engine.generate(PROMPTS[i % 4], max_tokens=24, n=2, temperature=0.8, seed=i, queue_timeout=None).text

        def stream(i: int) -> str:
            return "".join(
                chunk.text for chunk in engine.stream(PROMPTS[i % 4], max_tokens=24, seed=i, queue_timeout=None)
            )

        def leave(i: int) -> str:
            handle = engine.submit(PROMPTS[i % 4], max_tokens=200, ignore_eos=True, queue_timeout=None)
            if i % 2:
                engine.stats()
                handle.cancel()
                with contextlib.suppress(RequestCancelled):
                    handle.result()
            return ""

        def loop(i: int) -> str:
            async def task(seed: int) -> None:
                async for _ in engine.astream(PROMPTS[seed % 4], max_tokens=12, seed=seed, queue_timeout=None):
                    pass

            async def tasks() -> None:
                with anyio.move_on_after(60):
                    async with anyio.create_task_group() as group:
                        for seed in range(4):
                            group.start_soon(task, seed)

            anyio.run(tasks, backend="trio" if i % 2 else "asyncio")
            return ""

        def score(i: int) -> str:
            engine.embed(["a fox", "a bear"])
            return str(engine.logprobs(engine.tokenize(PROMPTS[i % 4]))[-1])

        def hold(i: int) -> str:
            # The masks are made by a thread of their own, beside the forward pass.
            prompt = PROMPTS[i % 4]
            return engine.generate(prompt, max_tokens=24, n=2, seed=i, grammar=Even(), queue_timeout=None).text

        ways: list[Callable[[int], str]] = [poll, sleep, stream, leave, loop, score, hold]
        with ThreadPoolExecutor(len(ways)) as pool:
            for i in range(2):
                for outcome in [pool.submit(way, i) for way in ways]:
                    outcome.result(120)


drive_the_ring()
print("the ring", flush=True)
for n in map(int, sys.argv[1:]):
    drive_the_engine(n)
    print(f"{n} threads", flush=True)
