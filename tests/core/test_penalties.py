"""Each stage that changes logits, on examples small enough to check by hand; the reference covers the rest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama import Sampler, SamplingParams
from tests.sampler_reference import repetitions

N_VOCAB = 8


def shifts(
    history: Any, position: int = 0, base: float = 2.0, eog: tuple[int, ...] = (), **options: Any
) -> list[float]:
    """How far each token's logit moved, from equal logits; the probabilities tell it up to a constant."""
    sampler = Sampler(SamplingParams(seed=0, **options), eog_tokens=eog)
    probs = sampler.probs([base] * N_VOCAB, history, position)
    untouched = N_VOCAB - 1  # no test touches the last token
    with np.errstate(divide="ignore"):
        return [round(float(value), 4) for value in np.log(probs / probs[untouched])]


def test_bias_is_added() -> None:
    assert shifts([], logit_bias={1: 2.5, 3: -1.5}) == [0, 2.5, 0, -1.5, 0, 0, 0, 0]


def test_banned_tokens_have_no_chance() -> None:
    assert shifts([], banned_tokens=[0, 4]) == [-math.inf, 0, 0, 0, -math.inf, 0, 0, 0]


def test_repetition_divides_positive_logits_and_multiplies_the_others() -> None:
    assert shifts(([1], [2, 2]), repetition_penalty=2.0, base=2.0) == [0, -1, -1, 0, 0, 0, 0, 0]
    assert shifts(([1], [2, 2]), repetition_penalty=2.0, base=-2.0) == [0, -2, -2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("last_n", "hit"), [(0, []), (1, [3]), (2, [2, 3]), (3, [1, 2, 3]), (9, [0, 1, 2, 3]), (-1, [0, 1, 2, 3])]
)
def test_repetition_looks_back_so_far(last_n: int, hit: list[int]) -> None:
    found = shifts(([0, 1], [2, 3]), repetition_penalty=2.0, repeat_last_n=last_n)
    assert [token for token, shift in enumerate(found) if shift] == hit


def test_presence_and_frequency_look_at_output_only() -> None:
    history = ([0, 0, 1], [1, 2, 2, 2])
    assert shifts(history, presence_penalty=0.5) == [0, -0.5, -0.5, 0, 0, 0, 0, 0]
    assert shifts(history, frequency_penalty=0.5) == [0, -0.5, -1.5, 0, 0, 0, 0, 0]
    assert shifts(history, frequency_penalty=0.5, presence_penalty=-1.0) == [0, 0.5, -0.5, 0, 0, 0, 0, 0]


def test_history_may_be_the_output_alone() -> None:
    assert shifts([1, 1], frequency_penalty=1.0) == shifts(([], [1, 1]), frequency_penalty=1.0)


def dry(history: Any, **options: Any) -> dict[int, float]:
    settings = {"dry_multiplier": 1.0, "dry_base": 2.0, "dry_sequence_breakers": (), **options}
    return {token: -shift for token, shift in enumerate(shifts(history, **settings)) if shift}


def test_dry_grows_with_the_length_of_the_repetition() -> None:
    assert dry([1, 2, 3, 0, 2]) == {}  # one token repeats, two are allowed
    assert dry([1, 2, 3, 0, 1, 2]) == {3: 1}
    assert dry([0, 1, 2, 3, 5, 0, 1, 2]) == {3: 2}
    assert dry([0, 1, 2, 3, 5, 0, 1, 2], dry_multiplier=0.5, dry_base=3.0) == {3: 1.5}
    assert dry([1, 2, 3, 0, 2], dry_allowed_length=1) == {3: 1}


def test_dry_takes_the_longest_of_several_matches() -> None:
    assert dry([0, 1, 2, 3, 1, 2, 3, 0, 1, 2]) == {3: 2}


def test_dry_matches_may_overlap_and_span_prompt_and_output() -> None:
    assert dry([1, 1, 1, 1]) == {1: 2}
    assert dry(([0, 1, 2, 3, 5, 0], [1, 2])) == {3: 2}


@pytest.mark.parametrize(("last_n", "expected"), [(-1, {3: 2}), (0, {}), (7, {3: 1}), (6, {}), (3, {})])
def test_dry_looks_back_so_far(last_n: int, expected: dict[int, float]) -> None:
    assert dry([0, 1, 2, 3, 5, 0, 1, 2], dry_penalty_last_n=last_n) == expected


def test_dry_does_not_match_across_a_breaker() -> None:
    tokens = [0, 1, 2, 3, 5, 0, 1, 2]
    assert dry(tokens, dry_sequence_breakers=[[0]]) == {3: 1}
    assert dry(tokens, dry_sequence_breakers=[[1]]) == {}
    assert dry(tokens, dry_sequence_breakers=[[0, 1]]) == {}
    assert dry(tokens, dry_sequence_breakers=[[5, 0]]) == {3: 1}
    assert dry(tokens, dry_sequence_breakers=[[2, 2]]) == {3: 2}


@given(
    tokens=st.lists(st.integers(0, 2), min_size=1, max_size=12),
    breakers=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), max_size=12),
)
def test_dry_finds_the_breaker_among_many(tokens: list[int], breakers: list[list[int]]) -> None:
    # Those of two and more are looked up in an order that needs none of them to end with another.
    params = SamplingParams(dry_multiplier=1.0, dry_base=1.25, dry_sequence_breakers=breakers)
    expected = {token: 1.25 ** (length - 2) for token, length in repetitions(params, tokens).items()}
    assert dry(tokens, dry_base=1.25, dry_sequence_breakers=breakers) == pytest.approx(expected, abs=1e-3)


def test_dry_never_penalises_a_breaker() -> None:
    assert dry([1, 2, 3, 0, 1, 2], dry_sequence_breakers=[[3]]) == {}
    assert dry([1, 2, 3, 0, 1, 2], dry_sequence_breakers=[[3, 4]]) == {3: 1}


def test_end_tokens_wait_for_min_tokens() -> None:
    options: dict[str, Any] = {"eog": (1, 2), "min_tokens": 3, "stop_token_ids": [4]}
    assert [i for i, shift in enumerate(shifts([], position=2, **options)) if shift == -math.inf] == [1, 2, 4]
    assert shifts([], position=3, **options) == [0] * N_VOCAB


def test_ignored_end_tokens_never_come() -> None:
    found = shifts([], position=9, eog=(1, 2), ignore_eos=True, stop_token_ids=[4])
    assert [i for i, shift in enumerate(found) if shift == -math.inf] == [1, 2]


def test_the_stages_keep_their_order() -> None:
    # Bias before the repetition penalty: (2 + 2) / 2 is 2, no shift; the other order would give 2 / 2 + 2 = 3.
    assert shifts([1], repetition_penalty=2.0, logit_bias={1: 2.0}) == [0] * N_VOCAB
    # Repetition before presence: 2 / 2 - 1 = 0; the other order would give (2 - 1) / 2 = 0.5.
    assert shifts([1], repetition_penalty=2.0, presence_penalty=1.0)[1] == -2
