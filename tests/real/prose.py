"""What is asked of every real model, whatever it is."""

from __future__ import annotations

import random

import numpy as np

from oxillama import Engine
from tests.real.texts import PROMPTS, TEXT


def perplexity(engine: Engine, ids: list[int]) -> float:
    """e to the mean negative log-probability of each token but the first."""
    return float(np.exp(-engine.logprobs(ids)[1:].mean()))


def check_perplexity(engine: Engine, most: float) -> None:
    """English is expected, and expected far more than its own tokens in any order."""
    ids = engine.tokenize(TEXT)
    shuffled = [*ids[:1], *random.Random(0).sample(ids[1:], len(ids) - 1)]
    assert 1 < perplexity(engine, ids) < most
    assert perplexity(engine, shuffled) > 10 * most


def check_company(engine: Engine) -> None:
    """Each prompt writes the same bytes alone and among the others, greedily and drawn."""
    for options in ({"temperature": 0}, {"temperature": 1.0, "seed": 5, "top_p": 0.95}):
        together = engine.generate_batch(PROMPTS, max_tokens=24, cache_prompt=False, **options)
        for prompt, completion in zip(PROMPTS, together, strict=True):
            alone = engine.generate(prompt, max_tokens=24, cache_prompt=False, **options)
            assert alone.token_ids == completion.token_ids
            assert alone.text == completion.text
            # What is in the cache by now changes nothing either.
            again = engine.generate(prompt, max_tokens=24, **options)
            assert again.token_ids == alone.token_ids
