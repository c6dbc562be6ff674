"""Each cut alone, on distributions small enough to check by hand; the reference covers their combinations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from oxillama import Sampler, SamplingParams
from oxillama._core.sampling.philox import random_bits
from oxillama.testing import strategies as ox

# Not in order, so that ids and ranks differ: ranks are 2, 0, 4, 1, 3.
PROBS = [0.15, 0.4, 0.05, 0.3, 0.1]


def kept(probs: list[float] | None = None, **options: Any) -> list[int]:
    sampler = Sampler(SamplingParams(seed=0, **options))
    return np.flatnonzero(sampler.probs(np.log(probs or PROBS))).tolist()


def test_without_a_cut_everything_is_kept() -> None:
    np.testing.assert_allclose(Sampler(SamplingParams()).probs(np.log(PROBS)), PROBS, rtol=1e-5)


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [1]), (2, [1, 3]), (3, [0, 1, 3]), (5, [0, 1, 2, 3, 4]), (99, [*range(5)])]
)
def test_top_k(k: int, expected: list[int]) -> None:
    assert kept(top_k=k) == expected


@pytest.mark.parametrize(
    ("p", "expected"), [(0.0, [1]), (0.39, [1]), (0.41, [1, 3]), (0.8, [0, 1, 3]), (0.99, [*range(5)])]
)
def test_top_p(p: float, expected: list[int]) -> None:
    assert kept(top_p=p) == expected


def test_top_p_keeps_the_token_that_reaches_the_mass_exactly() -> None:
    assert kept([0.25] * 4, top_p=0.5) == [0, 1]


@pytest.mark.parametrize(("p", "expected"), [(1.0, [1]), (0.7, [1, 3]), (0.3, [0, 1, 3]), (0.1, [*range(5)])])
def test_min_p(p: float, expected: list[int]) -> None:
    assert kept(min_p=p) == expected


@pytest.mark.parametrize(("a", "expected"), [(1.0, [0 + 1, 3]), (0.9, [0, 1, 3]), (0.3, [*range(5)])])
def test_top_a(a: float, expected: list[int]) -> None:
    # The bound is a * 0.4^2: 0.16, 0.144, 0.048.
    assert kept(top_a=a) == expected


@pytest.mark.parametrize(("epsilon", "expected"), [(0.9, [1]), (0.2, [1, 3]), (0.12, [0, 1, 3]), (0.04, [*range(5)])])
def test_epsilon(epsilon: float, expected: list[int]) -> None:
    assert kept(epsilon_cutoff=epsilon) == expected


def test_eta_is_the_smaller_of_two_bounds() -> None:
    entropy = -sum(p * math.log(p) for p in PROBS)
    assert math.sqrt(0.2) * math.exp(-entropy) == pytest.approx(0.11, abs=0.005)
    assert kept(eta_cutoff=0.2) == [0, 1, 3]
    assert kept(eta_cutoff=0.045) == [*range(5)]  # here epsilon itself is the smaller one, the other is 0.053
    assert kept(eta_cutoff=0.07) == [0, 1, 3, 4]


def test_typical_prefers_the_expected_surprise_over_the_best_token() -> None:
    # Entropy 1.39 nats; the surprises are 1.90, 0.92, 3.00, 1.20, 2.30: nearest are tokens 3, 1, 0, 4, 2.
    assert kept(typical_p=0.2) == [3]
    assert kept(typical_p=0.6) == [1, 3]
    assert kept(typical_p=0.8) == [0, 1, 3]


def test_top_n_sigma_measures_logits() -> None:
    logits = [0.0, 4.0, 8.0, 2.0, 6.0]  # standard deviation 2.828
    sampler = {n: Sampler(SamplingParams(top_n_sigma=n)) for n in (0.5, 1.0, 2.5, 0.0, -1.0)}
    found = {n: np.flatnonzero(s.probs(logits)).tolist() for n, s in sampler.items()}
    assert found == {0.5: [2], 1.0: [2, 4], 2.5: [1, 2, 3, 4], 0.0: [*range(5)], -1.0: [*range(5)]}


def test_top_n_sigma_does_not_see_banned_tokens() -> None:
    sampler = Sampler(SamplingParams(top_n_sigma=1.0, banned_tokens=[5]))
    assert np.flatnonzero(sampler.probs([0.0, 4.0, 8.0, 2.0, 6.0, -1000.0])).tolist() == [2, 4]


@pytest.mark.parametrize(
    ("threshold", "expected"), [(0.35, [*range(5)]), (0.25, [0, 2, 3, 4]), (0.12, [0, 2, 4]), (0.0, [2])]
)
def test_xtc_leaves_the_least_of_the_top_choices(threshold: float, expected: list[int]) -> None:
    assert kept(xtc_probability=1.0, xtc_threshold=threshold) == expected


def test_xtc_leaves_one_of_equal_choices() -> None:
    assert kept([0.3, 0.3, 0.3, 0.1], xtc_probability=1.0, xtc_threshold=0.2) == [2, 3]


def test_xtc_tosses_its_own_coin_per_position() -> None:
    sampler = Sampler(SamplingParams(xtc_probability=0.25, xtc_threshold=0.2, seed=11))
    hits = sum(sampler.probs(np.log(PROBS), position=i)[1] == 0 for i in range(2000))
    assert 0.2 < hits / 2000 < 0.3
    tossed = [(random_bits(11, 0, i, 1) >> 11) / 2**53 < 0.25 for i in range(200)]
    assert tossed == [sampler.probs(np.log(PROBS), position=i)[1] == 0 for i in range(200)]
    never = Sampler(SamplingParams(xtc_probability=0.0, seed=11))
    assert all(never.probs(np.log(PROBS), position=i)[1] > 0 for i in range(50))


def test_later_cuts_see_what_earlier_ones_left() -> None:
    # After top-k 2 the best token has 0.4 / 0.7 = 0.57, which reaches 0.5 alone; without top-k it takes two.
    assert kept(top_k=2, top_p=0.5) == [1]
    assert kept(top_p=0.5) == [1, 3]


def test_cuts_come_before_the_temperature() -> None:
    assert kept(top_p=0.41, temperature=3.0) == kept(top_p=0.41, temperature=0.3) == [1, 3]


def test_dynamic_temperature_follows_the_entropy() -> None:
    def ratio(logits: list[float], **options: Any) -> float:
        probs = Sampler(SamplingParams(temperature=1.0, dynatemp_range=0.5, **options)).probs(logits)
        return math.log(probs[0] / probs[1]) / (logits[0] - logits[1])

    flat = [0.001, 0.0, 0.0, 0.0]
    peaked = [12.0, 0.0, 0.0, 0.0]
    assert 1 / ratio(flat) == pytest.approx(1.5, rel=1e-2)
    assert 1 / ratio(peaked) == pytest.approx(0.5, rel=1e-2)
    probs = np.exp([1.0, 0, 0, 0]) / np.exp([1.0, 0, 0, 0]).sum()
    share = -(probs * np.log(probs)).sum() / math.log(4)
    assert 1 / ratio([1.0, 0.0, 0.0, 0.0], dynatemp_exponent=2.0) == pytest.approx(0.5 + share**2, rel=1e-5)


def test_mirostat_2_cuts_by_surprise() -> None:
    session = Sampler(SamplingParams(mirostat=2, seed=0)).session()
    # Surprises in bits: 2.74, 1.32, 4.32, 1.74, 3.32.
    for mu, expected in ((0.5, [1]), (1.5, [1]), (2.0, [1, 3]), (3.0, [0, 1, 3]), (9.0, [*range(5)])):
        session.mu = mu
        assert np.flatnonzero(session.probs(np.log(PROBS))).tolist() == expected


@pytest.mark.parametrize("version", [1, 2])
def test_mirostat_steers_towards_its_target(version: int) -> None:
    row = -1.2 * np.log(np.arange(1, 3001))
    for tau in (2.0, 4.0):
        session = Sampler(SamplingParams(mirostat=version, mirostat_tau=tau, seed=5)).session()
        assert session.mu == 2 * tau
        surprises = []
        for position in range(400):
            probs = session.probs(row, position=position)
            surprises.append(-math.log2(probs[session.sample(row, position=position)]))
        assert np.mean(surprises[100:]) == pytest.approx(tau, abs=0.35)


def test_mirostat_beyond_all_numbers_leaves_the_best_token() -> None:
    # The first step takes the target to minus infinity, the second to infinity minus infinity.
    session = Sampler(SamplingParams(mirostat=2, mirostat_tau=2.0, mirostat_eta=1e308, seed=0)).session()
    row = np.zeros(300)
    row[7] = 1.0
    for position in range(4):
        session.sample(row, position=position)
    assert session.mu is not None
    assert math.isnan(session.mu)
    assert session.sample(row, position=4) == 7


def test_mirostat_takes_the_place_of_the_cuts() -> None:
    session = Sampler(SamplingParams(mirostat=2, top_k=1, top_p=0.1, seed=0)).session()
    assert np.count_nonzero(session.probs(np.log(PROBS))) == 5


@settings(max_examples=60, deadline=None)
@given(logits=ox.logits(), params=ox.sampling_params(n_vocab=1, banned_tokens=[], logit_bias={}, mirostat=True))
def test_a_cut_always_leaves_a_token(logits: Any, params: SamplingParams) -> None:
    params = params.replace(stop_token_ids=())
    session = Sampler(params).session()
    assert session.probs(logits)[session.sample(logits)] >= 0
    assert session.probs(logits).max() > 0
