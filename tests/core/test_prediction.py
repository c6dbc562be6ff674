"""A predicted text: followed from its beginning, found again after a difference, and left where it says nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oxillama._core.testing.drafter_harness import PromptLookup, RowCosts

TEXT = list(range(10, 60))


def drafter(prediction: Sequence[int], prompt: Sequence[int] = (1, 2)) -> PromptLookup:
    return PromptLookup(np.array(prompt, np.int32), prediction=np.array(prediction, np.int32))


def write(drafter: PromptLookup, tokens: Sequence[int]) -> None:
    for token in tokens:
        drafter.append(token)


def test_it_is_followed_from_its_beginning_to_its_end() -> None:
    one = drafter(TEXT)
    assert one.propose() == TEXT[:15]
    write(one, TEXT[:20])
    assert one.propose() == TEXT[20:35]
    assert one.propose(3) == TEXT[20:23]
    write(one, TEXT[20:48])
    assert one.propose() == TEXT[48:]
    write(one, TEXT[48:])
    assert one.propose() == []


def test_after_a_difference_it_is_found_again() -> None:
    one = drafter(TEXT)
    write(one, [*TEXT[:10], 99, 98])
    assert one.propose() == []
    write(one, TEXT[13:15])
    assert one.propose() == [], "two tokens are no match"
    write(one, TEXT[15:16])
    assert one.propose(4) == TEXT[16:20]


def test_of_equal_matches_the_nearest_behind_counts() -> None:
    one = drafter([1, 2, 3, 4, 7, 1, 2, 3, 5, 7, 1, 2, 3, 6])
    write(one, [1, 2, 3, 4, 9, 1, 2, 3])
    assert one.propose(1) == [5]
    write(one, [9, 1, 2, 3])
    assert one.propose(1) == [6]
    write(one, [9, 1, 2, 3])
    assert one.propose(1) == [4], "from the beginning again"


def test_where_it_says_nothing_the_request_s_own_text_does() -> None:
    one = drafter([50, 51, 52], prompt=[7, 8, 9, 10, 11, 7, 8, 9])
    write(one, [10, 11, 7, 8, 9])
    assert one.propose(2) == [10, 11]


def test_what_cannot_pay_is_not_drafted() -> None:
    costs = RowCosts()
    for n in range(1, 17):
        costs.observe(n, 1_000_000 * n)
    assert drafter(TEXT).propose(costs=costs) == []
    assert drafter(TEXT).propose(n_rows=5) == []


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.lists(st.integers(0, 3), max_size=60))
def test_drafts_are_what_follows_in_the_text(text: list[int], output: list[int]) -> None:
    one = PromptLookup(np.array([9], np.int32), prediction=np.array(text, np.int32))
    for i, token in enumerate(output):
        found = one.propose(5)
        if found:
            own = any(text[place : place + len(found)] == found for place in range(len(text)))
            # Else it is a repetition of the output's own.
            assert own or i >= 3
        one.append(token)
