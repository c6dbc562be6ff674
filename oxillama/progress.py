"""One meaning for every `progress` argument: True, False, None (a bar if stderr is a terminal) or a callable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import anyio
import anyio.to_thread

from oxillama.standard_error import Forgiving, is_terminal

T = TypeVar("T")

Progress = bool | Callable[[int, int], None] | None


@contextmanager
def reporting(progress: Progress, *, total: int, label: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Yields `advance(n)`. A callable is told (done, total) after each advance; bytes, `unit` "B", are shown in
    powers of 1024."""
    if callable(progress):
        report, done = progress, 0

        def advance(n: int) -> None:
            nonlocal done
            done += n
            report(done, total)

        yield advance
        return
    if not (progress is None or isinstance(progress, bool)):
        raise TypeError(f"progress is a {type(progress).__name__}, expected True, False, None or a callable")
    if progress is False or (progress is None and not (is_terminal() or "ipykernel" in sys.modules)):
        yield lambda n: None
        return
    from tqdm.auto import tqdm  # a notebook gets its own kind of bar

    with tqdm(
        total=total,
        desc=label,
        unit=unit,
        unit_scale=unit == "B",
        unit_divisor=1024,
        leave=False,
        file=Forgiving(),
    ) as bar:
        yield lambda n: bar.update(n) and None


class Stopped(Exception):
    """What was being waited for is not wanted any more."""


@contextmanager
def stoppable(progress: Progress, is_cancelled: Callable[[], bool], *, label: str) -> Iterator[Progress]:
    """A callable that reports bytes as `progress` says, and raises Stopped once `is_cancelled()`."""
    shown = 0
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None

        def report(done: int, total: int) -> None:
            nonlocal advance, shown
            if is_cancelled():
                raise Stopped
            if advance is None:
                advance = stack.enter_context(reporting(progress, total=total, label=label, unit="B"))
            advance(done - shown)
            shown = done

        yield report


async def stoppable_beside(load: Callable[..., T], wanted: Progress, *, label: str) -> T:
    """`load(progress=...)`, done in a thread. Cancelling ends it where it next tells its progress."""
    cancelled = False

    def work() -> T:
        with stoppable(wanted, lambda: cancelled, label=label) as progress:
            return load(progress=progress)

    try:
        return await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        cancelled = True
        raise
