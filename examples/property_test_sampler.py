"""An application tests its own sampler settings with Hypothesis: which tokens may its users ever see?

Run it with ``pytest examples/property_test_sampler.py`` (needs the extra ``testing`` and pytest), or on its own.
The strategies make logits no model would, so what holds here holds for every model.
"""

from __future__ import annotations

import math

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from oxillama import Sampler, SamplingParams
from oxillama.testing import strategies as ox

Logits = NDArray[np.float32]
History = tuple[list[int], list[int]]

N_VOCAB = 50
TRADE_SECRET = 7  # a token that our support bot must never write

SUPPORT_BOT = SamplingParams(
    temperature=0.7, top_k=40, min_p=0.05, repetition_penalty=1.1, banned_tokens=[TRADE_SECRET]
)  # fmt: skip


@given(logits=ox.logits(N_VOCAB), history=ox.token_histories(N_VOCAB), seed=st.integers(0, 2**64 - 1))
def test_the_banned_token_never_comes(logits: Logits, history: History, seed: int) -> None:
    sampler = Sampler(SUPPORT_BOT.replace(seed=seed))
    assert sampler.probs(logits, history)[TRADE_SECRET] == 0
    assert sampler.sample(logits, history) != TRADE_SECRET


@given(logits=ox.logits(N_VOCAB), seed=st.integers(0, 2**64 - 1))
def test_only_probable_tokens_come(logits: Logits, seed: int) -> None:
    token = Sampler(SUPPORT_BOT.replace(seed=seed)).sample(logits)
    best = np.delete(logits, TRADE_SECRET).max()
    assert logits[token] >= best + math.log(0.05) - 1e-4


@given(logits=ox.logits(N_VOCAB), history=ox.token_histories(N_VOCAB))
def test_a_token_said_before_becomes_no_likelier(logits: Logits, history: History) -> None:
    _, output = history
    assume(output)
    token = output[-1]
    settings = SUPPORT_BOT.replace(top_k=0, min_p=0.0)
    fresh = [other for other in output if other != token]
    before = Sampler(settings).probs(logits, ([], fresh))[token]
    after = Sampler(settings).probs(logits, ([], [*fresh, token]))[token]
    assert after <= before * (1 + 1e-5)


if __name__ == "__main__":
    test_the_banned_token_never_comes()
    test_only_probable_tokens_come()
    test_a_token_said_before_becomes_no_likelier()
    print("The support bot's settings hold.")
