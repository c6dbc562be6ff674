"""Work that would hold an event loop up, done in threads beside it: few at a time, in the order in which it came."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar

T = TypeVar("T")

# Characters of text. Tokenizing so many takes a few milliseconds at most, going to a thread and back a tenth of one.
INLINE = 4 << 10
# More is a long text: how much more matters to nobody who counts.
LONG = 64 << 10
# Lanes, so that ordinary requests never wait behind long texts: up to how many characters, and how many threads. These
# share one interpreter, and while a text is encoded it may take a hundred times its size.
LANES = ((LONG, 4), (2 << 20, 2), (sys.maxsize, 1))

# A limiter belongs to one event loop.
_limiters: RunVar[list[CapacityLimiter]] = RunVar("oxillama_lanes")


async def beside(work: Callable[[], T], *, size: int) -> T:
    """What `work` returns or raises, done in a thread. `size`: characters (or token ids) that it looks at.

    A cancelled caller waits until the work is done: what runs is never more than there are threads."""
    try:
        limiters = _limiters.get()
    except LookupError:
        limiters = [CapacityLimiter(threads) for _, threads in LANES]
        _limiters.set(limiters)
    lane = next(index for index, (most, _) in enumerate(LANES) if size <= most)
    return await anyio.to_thread.run_sync(work, limiter=limiters[lane])


async def beside_if_long(work: Callable[[], T], *, size: int) -> T:
    """The same, but at once where it is so little that a thread would take longer."""
    return await beside(work, size=size) if size > INLINE else work()
