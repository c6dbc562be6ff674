"""One meaning for every progress argument."""

from __future__ import annotations

import io
import sys

import pytest

from oxillama.progress import Stopped, reporting, stoppable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(progress: object) -> None:
    with reporting(progress, total=100, label="working", unit="B") as advance:  # type: ignore[arg-type]
        advance(30)
        advance(70)


def test_a_callable_is_told_what_is_done() -> None:
    told: list[tuple[int, int]] = []
    run(lambda done, total: told.append((done, total)))
    assert told == [(30, 100), (100, 100)]


@pytest.mark.parametrize(("progress", "terminal", "shown"), [
    (True, False, True),
    (True, True, True),
    (False, True, False),
    (None, True, True),
    (None, False, False),
])  # fmt: skip
def test_when_a_bar_is_shown(
    monkeypatch: pytest.MonkeyPatch, progress: bool | None, terminal: bool, shown: bool
) -> None:
    stderr = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    run(progress)
    assert ("working" in stderr.getvalue()) is shown


@pytest.mark.parametrize("progress", ["yes", 5, object()])
def test_anything_else_is_a_type_error(progress: object) -> None:
    with pytest.raises(TypeError, match=r"progress is a .*expected True, False, None or a callable"):
        run(progress)


def test_an_error_of_the_callable_goes_through() -> None:
    def fail(done: int, total: int) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        run(fail)


def test_what_is_not_wanted_any_more_stops_at_the_next_report() -> None:
    told: list[tuple[int, int]] = []
    cancelled = False

    def load() -> None:
        nonlocal cancelled
        with stoppable(lambda *report: told.append(report), lambda: cancelled, label="loading") as progress:
            assert callable(progress)
            progress(10, 40)
            progress(20, 40)
            cancelled = True
            progress(40, 40)

    with pytest.raises(Stopped):
        load()
    assert told == [(10, 40), (20, 40)]
