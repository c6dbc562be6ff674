"""Waiting for something that another thread does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from oxillama import Engine


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Returns when the condition holds; fails if it does not in time. Generous, because machines are busy."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"still not so after {seconds} seconds"
        time.sleep(0.002)


def growing_limits(first: float = 0.2, last: float = 20.0) -> Iterator[float]:
    """Seconds to try one after the other where something must have begun within a limit that then ends it: a fixed one
    is too short on a busy machine, and a long one is waited for by everybody."""
    while first < last:
        yield first
        first *= 2


def is_idle(engine: Engine) -> bool:
    """Nothing queued, nothing running, no block held."""
    stats = engine.stats()
    return stats.queue_depth == stats.running == stats.waiting == stats.kv_blocks_used == 0
