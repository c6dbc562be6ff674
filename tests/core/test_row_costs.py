"""What rows cost, and how many drafts are worth it."""

from __future__ import annotations

import pytest

from oxillama._core.testing.drafter_harness import RowCosts


def measured(times: dict[int, int]) -> RowCosts:
    costs = RowCosts()
    for n_rows, step_ns in times.items():
        for _ in range(5):
            costs.observe(n_rows, step_ns)
    return costs


def test_nothing_is_drafted_before_anything_is_known() -> None:
    assert RowCosts().worthwhile(1, 8, 1.0) == 0
    assert measured({2: 1000}).worthwhile(1, 8, 1.0) == 0


@pytest.mark.parametrize(("chance", "expected"), [(1.0, 8), (0.9, 8), (0.5, 3), (0.1, 0), (0.0, 0)])
def test_the_chance_decides_how_many(chance: float, expected: int) -> None:
    costs = measured({rows: 10_000 + 500 * rows for rows in range(1, 10)})
    assert costs.worthwhile(1, 8, chance) == expected


def test_a_row_that_costs_a_step_is_never_worth_it() -> None:
    costs = measured({rows: 10_000 * rows for rows in range(1, 10)})
    assert costs.worthwhile(1, 8, 0.99) == 0


def test_rows_that_were_never_seen_are_guessed_until_they_are() -> None:
    costs = measured({1: 10_000})
    assert costs.worthwhile(1, 8, 0.9) == 8
    costs.observe(9, 100_000)
    assert costs.worthwhile(1, 8, 0.9) == 7


def test_one_interrupted_step_does_not_stop_drafts() -> None:
    costs = measured({rows: 10_000 + 500 * rows for rows in range(1, 10)})
    costs.observe(9, 10_000_000)
    assert costs.worthwhile(1, 8, 0.95) >= 7


def test_drafts_end_with_the_rows_that_are_measured() -> None:
    costs = measured(dict.fromkeys(range(1, 17), 10000))
    assert costs.worthwhile(12, 8, 0.9) == 4
    assert costs.worthwhile(16, 8, 0.9) == 0
    assert costs.worthwhile(40, 8, 0.9) == 0
