"""Exactness under load: whatever else runs, is cancelled or preempted, a request's output is the one it has alone."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from oxillama import Engine, RequestCancelled, SamplingParams
from oxillama.demo import demo_path

N_REQUESTS = 64
# So few blocks that a handful of requests fills them, and yet any one request fits.
SMALL_CACHE = 20 * 32


@dataclass(frozen=True)
class Job:
    prompt: str
    params: SamplingParams
    delay: float
    cancel_after: float | None


def make_jobs() -> list[Job]:
    chosen = random.Random(7)
    beginnings = ["Once upon a time", "One day, a little fox", "Mia and Tom", "The old mill by the river"]
    jobs = []
    for i in range(N_REQUESTS):
        prompt = chosen.choice(beginnings) + " went to see the sea and found a shell." * chosen.randrange(0, 9)
        params = SamplingParams(
            max_tokens=chosen.choice([1, 20, 150, 300]),
            temperature=chosen.choice([0.0, 0.7, 1.3]),
            top_k=chosen.choice([0, 5, 40]),
            top_p=chosen.choice([0.8, 1.0]),
            min_p=chosen.choice([0.0, 0.05]),
            repetition_penalty=chosen.choice([1.0, 1.2]),
            presence_penalty=chosen.choice([0.0, 0.5]),
            ignore_eos=chosen.random() < 0.5,
            seed=i,
            stop=chosen.choice([(), (), (".",), ("the end", "sea")]),
            logprobs=chosen.choice([None, 0, 3]),
        )
        cancel_after = chosen.uniform(0, 0.1) if i % 8 == 3 else None
        jobs.append(Job(prompt, params, chosen.uniform(0, 0.1), cancel_after))
    return jobs


Outcome = tuple[tuple[int, ...], str, str | None, tuple[float, ...] | None]


def outcome_of(engine: Engine, job: Job) -> Outcome:
    found = engine.submit(job.prompt, job.params).result()
    logprobs = None if found.logprobs is None else tuple(entry.logprob for entry in found.logprobs.content)
    return found.token_ids, found.text, found.finish_reason, logprobs


@cache
def alone(path: Path) -> list[Outcome]:
    """Each request on an idle engine with room for everything; nothing is cached or shared."""
    with Engine(path, n_threads=1, prefix_cache=False, progress=False) as engine:
        return [outcome_of(engine, job) for job in make_jobs()]


def run_together(engine: Engine, jobs: list[Job]) -> list[Outcome | None]:
    outcomes: list[Outcome | None] = [None] * len(jobs)
    failures: list[BaseException] = []

    def work(i: int, job: Job) -> None:
        try:
            time.sleep(job.delay)
            if job.cancel_after is None:
                outcomes[i] = outcome_of(engine, job)
                return
            handle = engine.submit(job.prompt, job.params)
            time.sleep(job.cancel_after)
            handle.cancel()
            with contextlib.suppress(RequestCancelled):
                handle.result(timeout=60)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=item) for item in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    return outcomes


@pytest.mark.parametrize("prefix_cache", [True, False], ids=["cached", "uncached"])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("model", ["demo", "stories260K"])
def test_sixty_four_requests(model: str, n_threads: int, prefix_cache: bool, request: pytest.FixtureRequest) -> None:
    path = demo_path()
    if model != "demo":
        path = request.getfixturevalue("fixtures_dir") / "stories260K.gguf"
    jobs = make_jobs()
    with Engine(
        path,
        n_threads=n_threads,
        kv_cache_tokens=SMALL_CACHE,
        n_ctx=512,
        max_batch_size=16,
        max_batch_tokens=128,
        prefix_cache=prefix_cache,
        progress=False,
    ) as engine:
        together = run_together(engine, jobs)
        assert engine.drain(30)
        stats = engine.stats()
    assert stats.preemptions > 0, "the cache was not small enough to make the test one"
    assert stats.kv_blocks_used == 0
    assert stats.kv_blocks_free + stats.kv_blocks_cached == SMALL_CACHE // 32
    assert stats.finished == N_REQUESTS
    if not prefix_cache:
        assert stats.cached_tokens == 0
    for job, found, expected in zip(jobs, together, alone(path), strict=True):
        if job.cancel_after is None:
            assert found == expected
