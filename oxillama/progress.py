"""One meaning for every `progress` argument: True, False, None (a bar if stderr is a terminal) or a callable."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = bool | Callable[[int, int], None] | None


@contextmanager
def reporting(progress: Progress, *, total: int, label: str, unit: str) -> Iterator[Callable[[int], None]]:
    """Yields `advance(n)`. A callable is told (done, total) after each advance; `unit` "B" is shown in powers of 1024."""
    if callable(progress):
        report, done = progress, 0

        def advance(n: int) -> None:
            nonlocal done
            done += n
            report(done, total)

        yield advance
        return
    if progress is False or (progress is None and not sys.stderr.isatty()):
        yield lambda n: None
        return
    from tqdm import tqdm

    with tqdm(total=total, desc=label, unit=unit, unit_scale=unit == "B", unit_divisor=1024, leave=False) as bar:
        yield lambda n: bar.update(n) and None
