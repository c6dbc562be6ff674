"""Prompt lookup: the longest match and what followed it, in bounded time, and as much as it deserves."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oxillama._core.testing.drafter_harness import PromptLookup, RowCosts

MIN_MATCH, MAX_MATCH = 3, 32


def lookup(tokens: Sequence[int]) -> PromptLookup:
    return PromptLookup(np.array(tokens, dtype=np.int32))


def expected(tokens: Sequence[int], most: int) -> list[int]:
    """Drafts by the definition: over all places, the longest match, the latest among equals."""
    n, best, longest = len(tokens), 0, MIN_MATCH - 1
    for place in range(n - 1, 0, -1):
        length = 0
        while length < min(place, MAX_MATCH) and tokens[place - 1 - length] == tokens[n - 1 - length]:
            length += 1
        if length > longest:
            best, longest = place, length
    if not best:
        return []
    text = list(tokens)
    for i in range(min(most, 8, longest - MIN_MATCH + 2)):
        text.append(text[best + i])
    return text[n:]


def test_of_equal_matches_the_latest_counts() -> None:
    assert lookup([0, 1, 2, 0, 0, 1, 2, 1, 0, 1, 2]).propose() == [1, 0]


@given(tokens=st.lists(st.integers(0, 2), min_size=1, max_size=30), most=st.integers(1, 16))
def test_it_finds_the_longest_and_latest_match(tokens: list[int], most: int) -> None:
    assert lookup(tokens).propose(most) == expected(tokens, most)


@given(tokens=st.lists(st.integers(0, 3), min_size=4, max_size=60), n_prompt=st.integers(1, 3))
def test_it_follows_the_output(tokens: list[int], n_prompt: int) -> None:
    found = lookup(tokens[:n_prompt])
    for n in range(n_prompt, len(tokens)):
        # Places of long repetitive texts are visited up to a bound only; these are short.
        assert found.propose() == expected(tokens[:n], 16)
        found.append(tokens[n])


@pytest.mark.parametrize(("n_same", "n_drafts"), [(2, 0), (3, 2), (4, 3), (8, 7), (9, 8), (20, 8)])
def test_a_draft_is_as_long_as_its_match_deserves(n_same: int, n_drafts: int) -> None:
    text = list(range(100, 140))
    assert len(lookup([*text, 7, *text[10 : 10 + n_same]]).propose()) == n_drafts


def test_a_text_that_repeats_is_continued_beyond_its_end() -> None:
    assert lookup([1, 2, 3] * 5).propose() == [1, 2, 3, 1, 2, 3, 1, 2]


def test_a_long_prompt_is_read_in_bounded_pieces() -> None:
    rng = random.Random(3)
    prompt = [rng.randrange(30_000) for _ in range(20_000)]
    found = lookup([*prompt, *prompt[19_000:19_010]])
    assert found.propose() == [], "only its beginning has been read"
    found.propose()
    assert found.propose() == prompt[19_010:19_018]


def test_drafts_stop_where_many_sequences_run() -> None:
    found = lookup([1, 2, 3] * 5)
    assert found.propose(n_rows=4)
    assert not found.propose(n_rows=5)


def costs_of(slope: float) -> RowCosts:
    costs = RowCosts()
    for rows in range(1, 17):
        costs.observe(rows, int(1e6 * (1 + slope * (rows - 1))))
    return costs


@pytest.mark.parametrize("slope", [0.02, 0.1, 0.3, 1.5])
def test_what_fails_is_given_up_and_tried_again_now_and_then(slope: float) -> None:
    """Each row costs `slope` of a step, and every draft is wrong."""
    found, costs = lookup([1, 2, 3] * 5), costs_of(slope)
    lost = []
    for _ in range(3000):
        drafts = found.propose(costs=costs)
        if drafts:
            found.verified(0, len(drafts))
            costs.observe(1 + len(drafts), int(1e6 * (1 + slope * len(drafts))))
        lost.append(slope * len(drafts))
    assert sum(lost[:100]) < 0.1 * 100
    assert sum(lost[1000:]) < 0.02 * 2000
    assert any(lost[1000:]), "texts change, and so does the machine"
