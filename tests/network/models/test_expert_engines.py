"""Engines with experts and latent attention write the same in a crowd, in small chunks, preempted, with several
threads, and behind a cached prefix, as alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oxillama import Engine
from tests.network.models.described import MODELS
from tests.patience import eventually, is_idle

OPTIONS: dict[str, Any] = {"max_tokens": 90, "temperature": 1.0, "ignore_eos": True}
PROMPTS = [
    "",
    "a",
    "once upon a time there was a fox",
    "once upon a time there was a dog and",
    "x" * 70,
    "some words " * 9,
]


@pytest.mark.parametrize("name", ["mixtral", "gpt-oss", "deepseek2", "deepseek2-old", "llama4"])
def test_company_changes_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    MODELS[name].write(path)
    with Engine(path, n_threads=1, prefix_cache=False, max_batch_size=1, n_ctx=256, progress=False) as engine:
        alone = [engine.generate(prompt, seed=i, **OPTIONS).token_ids for i, prompt in enumerate(PROMPTS)]
    crowd: dict[str, Any] = {"n_ctx": 256, "kv_cache_tokens": 288, "max_batch_size": 6, "max_batch_tokens": 16}
    with Engine(path, n_threads=2, progress=False, **crowd) as engine:
        for _ in range(2):  # the second time their beginnings are cached
            handles = [engine.submit(prompt, seed=i, **OPTIONS) for i, prompt in enumerate(PROMPTS)]
            assert [handle.result().token_ids for handle in handles] == alone
        eventually(lambda: is_idle(engine))
        assert engine.stats().preemptions > 0
