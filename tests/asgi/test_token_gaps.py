"""Gaps between tokens, counted by their length."""

from __future__ import annotations

import pytest

from oxillama.asgi.token_gaps import BOUNDS, TokenGaps


def test_each_is_counted_up_to_every_longer_bound() -> None:
    gaps = TokenGaps()
    gaps.add(0.001)  # a bound belongs to what it bounds
    gaps.add(0.03, 2)
    gaps.add(1000)
    assert dict(gaps.buckets()) == {
        **{str(bound): 1.0 if bound < 0.03 else 3.0 for bound in BOUNDS},
        "+Inf": 4.0,
    }
    assert len(gaps) == 4
    assert gaps.seconds == pytest.approx(1000.061)


def test_they_add_up_and_leave_the_others_as_they_were() -> None:
    total, one = TokenGaps(), TokenGaps()
    one.add(0.0, 5)
    for _ in range(3):
        total += one
    assert (len(total), len(one)) == (15, 5)
    one.add(2.0, 0)
    assert len(one) == 5
