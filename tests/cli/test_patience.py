"""A budget of waiting, by a clock that the test holds."""

from __future__ import annotations

from oxillama.cli.patience import Patience


def test_only_waiting_spends_it() -> None:
    patience = Patience(10)
    assert patience.left(100) == 10, "nobody waits yet"
    patience.wait(100)
    patience.wait(103)  # it goes on
    assert patience.left(104) == 6
    patience.rest(104)
    assert patience.left(1000) == 6
    patience.wait(1000)
    assert patience.left(1007) == -1


def test_what_comes_wins_it_back_but_never_more_than_there_was() -> None:
    patience = Patience(10, bytes_per_second=100)
    patience.wait(0)
    patience.gain(300, 5)
    assert patience.left(5) == 8
    assert patience.left(7) == 6
    patience.gain(1_000_000, 7)
    assert patience.left(7) == 10
    patience.rest(8)
    patience.gain(50, 20)
    assert patience.left(30) == 9.5


def test_without_a_rate_nothing_wins_it_back() -> None:
    patience = Patience(10)
    patience.wait(0)
    patience.gain(1_000_000, 5)
    assert patience.left(5) == 5
