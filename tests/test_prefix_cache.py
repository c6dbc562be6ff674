"""The prefix cache as an app sees it: work saved, results unchanged, tenants apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oxillama import Engine
from oxillama.testing.tiny_models import BOS, FIRST_BYTE

PROMPT = "Once upon a time"


def test_the_prefix_cache_saves_work_and_changes_nothing(long_model: Path) -> None:
    with (
        Engine(long_model, n_threads=1, n_ctx=512, progress=False) as cached,
        Engine(long_model, n_threads=1, n_ctx=512, prefix_cache=False, progress=False) as fresh,
    ):
        system = "You are a helpful assistant. " * 6
        first = cached.generate(system + "One", max_tokens=40, seed=1)
        second = cached.generate(system + "Two", max_tokens=40, seed=1)
        assert first.usage.cached_tokens == 0
        n_common = len(cached.tokenize(system))
        assert second.usage.cached_tokens == n_common // 32 * 32 > 0
        again = cached.generate(system + "One", max_tokens=40, seed=1)
        assert again.token_ids == first.token_ids
        assert again.usage.cached_tokens > 0
        for suffix, completion in (("One", first), ("Two", second)):
            alone = fresh.generate(system + suffix, max_tokens=40, seed=1)
            assert alone.usage.cached_tokens == 0
            assert alone.token_ids == completion.token_ids
        # What was generated is cached too.
        longer = cached.tokenize(system + "One") + list(first.token_ids)
        assert cached.generate(longer, max_tokens=1).usage.cached_tokens > n_common
        assert cached.stats().cached_tokens > 0
        assert fresh.stats().cached_tokens == 0


def test_one_token_is_always_computed(long_engine: Engine) -> None:
    ids = [BOS] + [FIRST_BYTE] * 63
    first = long_engine.generate(ids, max_tokens=8, seed=2)
    second = long_engine.generate(ids, max_tokens=8, seed=2)
    assert second.usage.cached_tokens == 32
    assert second.token_ids == first.token_ids


def test_cache_prompt_false_neither_finds_nor_leaves_anything(long_engine: Engine) -> None:
    prompt = "x" * 100
    long_engine.generate(prompt, max_tokens=1, cache_prompt=False)
    assert long_engine.generate(prompt, max_tokens=1).usage.cached_tokens == 0
    assert long_engine.generate(prompt, max_tokens=1).usage.cached_tokens == 96
    assert long_engine.generate(prompt, max_tokens=1, cache_prompt=False).usage.cached_tokens == 0


def test_salts_keep_tenants_apart(long_engine: Engine) -> None:
    prompt = "x" * 100

    def cached(salt: str | None) -> int:
        return long_engine.generate(prompt, max_tokens=1, cache_salt=salt).usage.cached_tokens

    assert [cached("a"), cached("b"), cached(None), cached("a"), cached("b"), cached(None)] == [0, 0, 0, 96, 96, 96]


def test_evaluation_bypasses_the_cache(long_engine: Engine) -> None:
    prompt = "x" * 100
    before = long_engine.logits(prompt)
    long_engine.generate(prompt, max_tokens=1)
    assert np.array_equal(long_engine.logits(prompt), before)
    assert long_engine.stats().cached_tokens == 0


def test_what_is_kept_bounds_growth_and_changes_no_result(long_model: Path) -> None:
    options = {"n_threads": 1, "n_ctx": 512, "kv_cache_tokens": 4096, "max_batch_size": 8, "progress": False}
    prompts = [[FIRST_BYTE + i % 7] * 120 for i in range(28)]
    with (
        Engine(long_model, prefix_cache_tokens=64, **options) as small,  # type: ignore[arg-type]
        Engine(long_model, prefix_cache_tokens=4096, **options) as large,  # type: ignore[arg-type]
    ):
        answers = [
            [engine.generate(prompt, max_tokens=9, seed=3).token_ids for prompt in prompts] for engine in (small, large)
        ]
        assert answers[0] == answers[1]
        # One sequence of five blocks at a time, and two blocks that are kept.
        assert 4 <= small.stats().kv_blocks_cached <= 7
        assert large.stats().kv_blocks_cached >= 7 * 3
        assert large.stats().cached_tokens > small.stats().cached_tokens
        # Eight at once need more than that, and get it.
        together = small.generate_batch(prompts, max_tokens=9, seed=3)
        assert [completion.token_ids for completion in together] == answers[0]
        assert small.stats().preemptions == 0
