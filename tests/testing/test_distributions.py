"""assert_same_distribution: it lets honest draws pass and finds those that are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama import Sampler, SamplingParams
from oxillama.testing import assert_same_distribution
from oxillama.testing import strategies as ox


@settings(max_examples=25, deadline=None)
@given(logits=ox.logits(12, low=-4, high=4), seed=st.integers(0, 2**32), temperature=st.sampled_from([0.3, 1.0, 2.0]))
def test_a_sampler_s_draws_are_its_own_probabilities(logits: np.ndarray, seed: int, temperature: float) -> None:
    sampler = Sampler(SamplingParams(temperature=temperature, top_p=0.9, seed=seed))
    draws = [sampler.sample(logits, position=position) for position in range(400)]
    assert_same_distribution(draws, sampler.probs(logits))


def test_another_temperature_is_found() -> None:
    logits = np.array([2, 1, 0, -1], np.float32)
    hot, cold = (Sampler(SamplingParams(temperature=temperature, seed=1)) for temperature in (1.5, 0.7))
    draws = [hot.sample(logits, position=position) for position in range(1000)]
    with pytest.raises(AssertionError, match="worst is token"):
        assert_same_distribution(draws, cold.probs(logits))


def test_what_cannot_happen_is_refused_whatever_the_odds() -> None:
    with pytest.raises(AssertionError, match="token 2 was drawn 1 times; its probability is 0"):
        assert_same_distribution([0, 1] * 50 + [2], [0.5, 0.5, 0.0])


@pytest.mark.parametrize(
    ("draws", "probs"), [([], [1.0]), ([5], [1.0]), ([-1], [1.0]), ([0], [[1.0]]), ([0], [-1.0]), ([0], [0.0])]
)
def test_what_says_nothing_is_a_value_error(draws: list[int], probs: list[float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        assert_same_distribution(draws, probs)


def test_rare_tokens_are_put_together() -> None:
    probs = np.full(1000, 0.1 / 999)
    probs[0] = 0.9
    rng = np.random.default_rng(1)
    assert_same_distribution(rng.choice(1000, size=2000, p=probs / probs.sum()), probs)
