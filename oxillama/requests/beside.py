"""Work that would hold an event loop up, done in threads beside it: few at a time, in the order in which it came."""

from __future__ import annotations

import math
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
# Seconds until it is looked whether the other thread is done; they double up to 25 times as many.
INTERVAL = 0.01

# A limiter belongs to one event loop.
_limiters: RunVar[list[CapacityLimiter]] = RunVar("oxillama_lanes")
# Of work in a lane: the moment of time.monotonic() at which it has waited enough, over all its beginnings. inf: it has
# not waited yet. None: this is no lane.
_patient_until: ContextVar[float | None] = ContextVar("oxillama_patient_until", default=None)


class _Waiting(BaseException):  # what work does about exceptions is not about this
    """Ends work in a lane that would wait for `done`: it is done again when that is set, or at `limit`."""

    def __init__(self, done: threading.Event, limit: float) -> None:
        super().__init__(done, limit)
        self.done, self.limit = done, limit


def wait_beside(done: threading.Event, limit: float) -> bool:
    """Waits for another thread until the moment `limit` of time.monotonic(); whether `done` was set.

    Work in a lane does not come back from a long wait: it is done again when the wait is over, so it must be such that
    this does no harm. All its waits together end at the first one's limit."""
    patient_until = _patient_until.get()
    if patient_until is None:
        return done.wait(max(0.0, limit - time.monotonic()))
    limit = min(limit, patient_until)
    remaining = max(0.0, limit - time.monotonic())
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
    limit = math.inf
    while True:
        done = await anyio.to_thread.run_sync(partial(_in_its_lane, work, limit), limiter=limiters[lane])
        if not isinstance(done, _Waiting):
            return done
        limit, interval = done.limit, INTERVAL
        while not done.done.is_set() and (remaining := limit - time.monotonic()) > 0:
            await anyio.sleep(min(interval, remaining))
            interval = min(2 * interval, 25 * INTERVAL)


def _in_its_lane(work: Callable[[], T], limit: float) -> T | _Waiting:
    # A thread's context is a copy of its caller's: nothing is to be undone.
    _patient_until.set(limit)
    try:
        return work()
    except _Waiting as waiting:
        return waiting


async def beside_if_long(work: Callable[[], T], *, size: int) -> T:
    """The same, but at once where it is so little that a thread would take longer."""
    return await beside(work, size=size) if size > INLINE else work()
