"""What the core does with any constraint: masks ahead of drafts, what is drawn, and what is taken back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oxillama._core.testing.constraint_harness import Masks, Sieve, is_within, only_token

OPEN, COMPLETE, DEAD, FAILED = range(4)
N_VOCAB = 75


def multiples(of: int) -> list[int]:
    return list(range(0, N_VOCAB, of))


def test_a_mask_says_what_may_come_next() -> None:
    masks = Masks(Sieve(N_VOCAB, modulus=7, ends=[3]), N_VOCAB)
    assert masks.mask(0) == (OPEN, None), "nothing was prepared"
    masks.prepare(0)
    assert masks.mask(0) == (OPEN, sorted([*multiples(7), 3]))
    assert masks.mask(1) == (OPEN, None)
    assert masks.take(14) == OPEN
    assert masks.mask(1) == (OPEN, None), "a token was drawn since"


def test_masks_reach_as_far_as_drafts_are_allowed() -> None:
    sieve = Sieve(N_VOCAB)
    masks = Masks(sieve, N_VOCAB)
    masks.prepare(0, [2, 4, 5, 6])
    assert [masks.mask(position)[1] is not None for position in range(5)] == [True, True, True, False, False]
    assert masks.take(2) == OPEN
    assert masks.take(8) == OPEN
    assert masks.mask(2) == (OPEN, None)
    assert masks.settle() == OPEN
    masks.prepare(2)
    assert masks.mask(2) == (OPEN, multiples(2))
    assert sieve.misuse is None


def test_drafts_beyond_the_vocabulary_are_not_allowed() -> None:
    masks = Masks(Sieve(N_VOCAB), N_VOCAB)
    masks.prepare(0, [N_VOCAB + 1])
    assert masks.mask(0)[1] == multiples(2)
    assert masks.mask(1) == (OPEN, None)


def test_a_prepared_mask_is_kept_when_a_step_is_abandoned() -> None:
    sieve = Sieve(N_VOCAB)
    masks = Masks(sieve, N_VOCAB)
    masks.prepare(0, [2, 4])
    masks.prepare(0, [6])  # the step before was abandoned
    assert masks.mask(0)[1] == masks.mask(1)[1] == multiples(2)
    assert masks.take(6) == OPEN
    masks.settle()
    masks.prepare(1)
    assert masks.mask(1)[1] == multiples(2)
    assert sieve.misuse is None


@pytest.mark.parametrize("drafts", [[], [2, 4, 6]])
def test_the_last_token_of_a_form_completes_it(drafts: list[int]) -> None:
    masks = Masks(Sieve(N_VOCAB, length=2), N_VOCAB)
    masks.prepare(0, drafts)
    assert masks.take(2) == OPEN
    if not drafts:
        masks.prepare(1)
    assert masks.take(4) == COMPLETE
    masks.settle()
    masks.prepare(2)
    assert masks.mask(2) == (COMPLETE, None)


@pytest.mark.parametrize("drafts", [[], [2]])
def test_what_becomes_of_a_constraint_is_told_where_it_happens(drafts: list[int]) -> None:
    masks = Masks(Sieve(N_VOCAB, dead_at=1), N_VOCAB)
    masks.prepare(0, drafts)
    assert masks.mask(0) == (OPEN, multiples(2))
    assert masks.take(2) == OPEN
    if not drafts:
        masks.prepare(1)
    assert masks.mask(1) == (DEAD, None)
    masks = Masks(Sieve(N_VOCAB, fails_at=0), N_VOCAB)
    masks.prepare(0, drafts)
    assert masks.mask(0) == (FAILED, None)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), length=st.integers(0, 12))
def test_drafts_change_nothing_of_what_is_allowed(data: st.DataObject, length: int) -> None:
    """Draws with drafts, abandoned steps and settling at any place see the masks of a constraint that has none."""
    sieve, plain = Sieve(N_VOCAB, modulus=3, remainders=[0, 1], length=length), Sieve(N_VOCAB)
    masks, position, status = Masks(sieve, N_VOCAB), 0, OPEN
    allowed = [token for token in range(N_VOCAB) if token % 3 < 2]
    while status == OPEN and position < 12:
        drafts = data.draw(st.lists(st.integers(0, 8), max_size=4))
        masks.prepare(position, drafts)
        if data.draw(st.booleans()):
            continue_with = data.draw(st.lists(st.integers(0, 8), max_size=2))
            masks.prepare(position, continue_with)
            drafts = continue_with
        for draft in [*drafts, None]:
            found, mask = masks.mask(position)
            if found == COMPLETE:
                assert position == length
                status = found
                break
            assert (found, mask) == (OPEN, allowed)
            token = draft if draft in allowed and data.draw(st.booleans()) else data.draw(st.sampled_from(allowed))
            status = masks.take(token)
            position += 1
            assert status == (COMPLETE if position == length else OPEN)
            if token != draft or status != OPEN:
                break
        assert masks.settle() == OPEN
    assert sieve.misuse is None
    assert plain.misuse is None


def test_a_misuse_is_noticed() -> None:
    sieve = Sieve(N_VOCAB)
    Masks(sieve, N_VOCAB).prepare(5)
    assert sieve.misuse == "a mask of another position than that of the accepted tokens"
    sieve = Sieve(N_VOCAB)
    Masks(sieve, N_VOCAB).accept(3)
    assert sieve.misuse == "a token that the mask does not allow"


def test_a_constraint_belongs_to_one_request() -> None:
    sieve = Sieve(N_VOCAB)
    Masks(sieve, N_VOCAB)
    with pytest.raises(ValueError, match="belongs to another request"):
        Masks(sieve, N_VOCAB)


def test_the_only_token_of_a_mask() -> None:
    assert only_token([0, 1 << 5, 0], N_VOCAB) == 37
    assert only_token([0, 0, 1 << 10], N_VOCAB) == 74
    assert only_token([0, 0, 1 << 10 | 1 << 11], N_VOCAB) == 74, "bits beyond the vocabulary are nothing"
    assert only_token([0, 0, 1 << 11], N_VOCAB) == -1
    assert only_token([1, 0, 1], N_VOCAB) == only_token([3, 0, 0], N_VOCAB) == -1


def test_a_mask_within_some_tokens() -> None:
    assert is_within([1 << 3, 0, 1 << 11], N_VOCAB, [3, 3, 40, 99])
    assert not is_within([1 << 3, 1, 0], N_VOCAB, [3])
    assert not is_within([0, 0, 0], N_VOCAB, [3])
