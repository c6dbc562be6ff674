"""The candidates of a draw: the best of a vocabulary, in order, whatever lies in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama import NumericalError, Sampler, SamplingParams


def kept(logits: np.ndarray, top_k: int) -> set[int]:
    probs = Sampler(SamplingParams(temperature=1.0, top_k=top_k, top_p=1.0, min_p=0.0)).probs(logits)
    return set(np.flatnonzero(probs).tolist())


@given(seed=st.integers(0, 999), n=st.sampled_from([1, 2, 63, 64, 65, 1000, 5000]), k=st.integers(1, 70))
def test_the_best_k_are_the_best_k(seed: int, n: int, k: int) -> None:
    logits = np.random.default_rng(seed).standard_normal(n).astype(np.float32)
    assert kept(logits, k) == set(np.argsort(-logits, kind="stable")[:k].tolist())


@given(seed=st.integers(0, 999), k=st.integers(1, 40), n_values=st.integers(1, 4))
def test_of_equals_the_first_are_kept(seed: int, k: int, n_values: int) -> None:
    logits = np.random.default_rng(seed).integers(0, n_values, 300).astype(np.float32)
    assert kept(logits, k) == set(np.argsort(-logits, kind="stable")[:k].tolist())


@pytest.mark.parametrize("order", [1, -1])
def test_sorted_logits_are_no_worst_case(order: int) -> None:
    logits = np.linspace(-30, 30, 20_000, dtype=np.float32)[::order].copy()
    assert kept(logits, 50) == set(np.argsort(-logits, kind="stable")[:50].tolist())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_wherever_it_is(value: float) -> None:
    for place in (0, 63, 199):
        logits = np.zeros(200, np.float32)
        logits[place] = value
        with pytest.raises(NumericalError):
            kept(logits, 40)
