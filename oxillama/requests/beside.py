"""Work that would hold an event loop up, done in threads beside it: few at a time, in the order in which it came."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

import anyio
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

# Seconds that work in a lane may wait for another thread; then it leaves the lane to others.
PATIENCE = 0.05
# How often it is looked whether the other thread is done, in seconds.
INTERVAL = 0.01

# A limiter belongs to one event loop.
_limiters: RunVar[list[CapacityLimiter]] = RunVar("oxillama_lanes")
_in_lane: ContextVar[bool] = ContextVar("oxillama_in_lane", default=False)


class _Waiting(Exception):
    """Ends work in a lane that would wait for `done`: it is done again when that is set, or at `limit`."""

    def __init__(self, done: threading.Event, limit: float) -> None:
        super().__init__(done, limit)
        self.done, self.limit = done, limit


def wait_beside(done: threading.Event, limit: float) -> bool:
    """Waits for another thread until the moment `limit` of time.monotonic(); whether `done` was set.

    Work in a lane does not come back from a long wait: it is done again when the wait is over, so it must be such that
    this does no harm, and ask the same event again."""
    remaining = max(0.0, limit - time.monotonic())
    if not _in_lane.get():
        return done.wait(remaining)
    if done.wait(min(PATIENCE, remaining)):
        return True
    if remaining > PATIENCE:
        raise _Waiting(done, limit)
    return False


async def beside(work: Callable[[], T], *, size: int) -> T:
    """What `work` returns or raises, done in a thread. `size`: characters (or token ids) that it looks at.

    A cancelled caller waits until the work is done: what runs is never more than there are threads. Work that waits
    for another thread is interrupted and done again, see `wait_beside`."""
    try:
        limiters = _limiters.get()
    except LookupError:
        limiters = [CapacityLimiter(threads) for _, threads in LANES]
        _limiters.set(limiters)
    lane = next(index for index, (most, _) in enumerate(LANES) if size <= most)
    while True:
        try:
            return await anyio.to_thread.run_sync(partial(_in_its_lane, work), limiter=limiters[lane])
        except _Waiting as waiting:
            while not waiting.done.is_set() and time.monotonic() < waiting.limit:
                await anyio.sleep(INTERVAL)


def _in_its_lane(work: Callable[[], T]) -> T:
    # A thread's context is a copy of its caller's: nothing is to be undone.
    _in_lane.set(True)
    return work()


async def beside_if_long(work: Callable[[], T], *, size: int) -> T:
    """The same, but at once where it is so little that a thread would take longer."""
    return await beside(work, size=size) if size > INLINE else work()
