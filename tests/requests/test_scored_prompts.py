"""`prompt_logprobs_start`: the same numbers, with what is before them from the prefix cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oxillama import Engine


@pytest.mark.parametrize("start", [0, 1, 33, 64, 65, 99, 500])
def test_prompt_logprobs_from_a_place_on_are_the_same_with_what_is_before_from_the_cache(start: int) -> None:
    with Engine.demo(n_threads=1, progress=False) as engine:
        ids = (engine.tokenize("The little dragon was sad because it had no friends.") * 10)[:100]
        expected = engine.logprobs(ids).tolist()
        engine.generate(ids, max_tokens=1)
        for max_tokens in (0, 2):
            options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": 0, "prompt_logprobs": 1}
            found = engine.generate(ids, prompt_logprobs_start=start, **options)
            assert found.usage.cached_tokens == min(max(start - 1, 0), 99) // 32 * 32
            whole = engine.generate(ids, **options)
            assert found.prompt_logprobs is not None
            assert whole.prompt_logprobs is not None
            assert found.token_ids == whole.token_ids
            first = max(1, start)
            assert [entry.logprob for entry in found.prompt_logprobs.content[first:]] == expected[first:]
            assert repr(found.prompt_logprobs.content[first:]) == repr(whole.prompt_logprobs.content[first:])
            assert all(np.isnan(entry.logprob) and not entry.top for entry in found.prompt_logprobs.content[:first])
