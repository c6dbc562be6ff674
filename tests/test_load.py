"""Exactness under load: in a crowd, with cancelled neighbours and preemption, a request writes what it writes alone."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from oxillama import Completion, CompletionChoice, Engine, RequestCancelled
from oxillama.demo import demo_path
from tests.patience import eventually, is_idle

Request = tuple[str, dict[str, Any]]

TEXT = "once upon a time there was a little fox who lived in the forest by the sea with Mia and her dog"
WORDS = TEXT.split()
SHARED = ["", "You are a story teller. " * 4, "Once upon a time there was a big dog. " * 6]
N_REQUESTS = 64


def draw_request(rng: random.Random) -> Request:
    prompt = rng.choice(SHARED) + " ".join(rng.choices(WORDS, k=rng.randint(1, 30)))
    options: dict[str, Any] = {
        "max_tokens": rng.choice([0, 1, 3, 20, 60, 100]),
        "seed": rng.randrange(2**64),
        "temperature": rng.choice([0.0, 0.7, 1.0, 1.5]),
        "ignore_eos": rng.random() < 0.5,
    }
    rare: list[dict[str, Any]] = [
        {"top_k": 5, "top_p": 0.9},
        {"min_p": 0.05},
        {"repetition_penalty": 1.2, "presence_penalty": 0.3},
        {"dry_multiplier": 0.8},
        {"mirostat": 2},
        {"xtc_probability": 0.5},
        {"stop": [".", " the"]},
        {"logprobs": 2},
        {"n": 2},
        {"cache_prompt": False},
        {"priority": 1},
    ]
    for extra in rng.sample(rare, 3):
        options |= extra
    return prompt, options


@cache
def requests() -> list[Request]:
    rng = random.Random(20)
    return [draw_request(rng) for _ in range(N_REQUESTS)]


@cache
def alone(path: Path) -> list[tuple[CompletionChoice, ...]]:
    found = []
    with Engine(path, n_threads=1, prefix_cache=False, max_batch_size=1, progress=False) as engine:
        for prompt, options in requests():
            found.append(engine.generate(prompt, **options).choices)
    return found


def ask(engine: Engine, number: int) -> Completion | None:
    """One of the requests, some as streams, some cancelled at some moment; None if it was indeed."""
    prompt, options = requests()[number]
    rng = random.Random(number)
    time.sleep(rng.random() * 0.1)
    if number % 7 == 3:
        handle = engine.submit(prompt, queue_timeout=None, **options)
        time.sleep(rng.random() * 0.01)
        handle.cancel()
        try:
            return handle.result()
        except RequestCancelled:
            return None
    if number % 3 == 1:
        stream = engine.stream(prompt, queue_timeout=None, **options)
        texts = [""] * options.get("n", 1)
        for chunk in stream:
            texts[chunk.index] += chunk.text
        completion = stream.handle.result()
        assert texts == [choice.text for choice in completion.choices]
        return completion
    return engine.generate(prompt, queue_timeout=None, **options)


def check(path: Path, *, n_threads: int, prefix_cache: bool, n_requests: int) -> None:
    expected = alone(path)
    # Room for about two of the larger requests, so that somebody is preempted all the time.
    options: dict[str, Any] = {"kv_cache_tokens": 288, "max_batch_size": 8, "max_batch_tokens": 64}
    with Engine(path, n_threads=n_threads, prefix_cache=prefix_cache, progress=False, **options) as engine:
        with ThreadPoolExecutor(32) as pool:
            found = list(pool.map(lambda number: ask(engine, number), range(n_requests)))
        eventually(lambda: is_idle(engine))
        stats = engine.stats()
    for number, completion in enumerate(found):
        if completion is not None:
            assert completion.choices == expected[number], f"request {number}"
    assert stats.finished == sum(options.get("n", 1) for _, options in requests()[:n_requests])
    assert stats.preemptions > 0
    assert (stats.cached_tokens > 0) is prefix_cache


@pytest.mark.parametrize("prefix_cache", [True, False], ids=["cached", "uncached"])
def test_64_requests_of_the_demo_model(prefix_cache: bool) -> None:
    check(demo_path(), n_threads=1, prefix_cache=prefix_cache, n_requests=N_REQUESTS)


def test_two_threads() -> None:
    check(demo_path(), n_threads=2, prefix_cache=True, n_requests=20)


def test_a_trained_model(fixtures_dir: Path) -> None:
    check(fixtures_dir / "stories260K.gguf", n_threads=1, prefix_cache=True, n_requests=N_REQUESTS)
