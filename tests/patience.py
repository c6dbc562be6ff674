"""Waiting for something that another thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

from oxillama import Engine


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Returns when the condition holds; fails if it does not in time. Generous, because machines are busy."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, f"still not so after {seconds} seconds"
        time.sleep(0.002)


def is_idle(engine: Engine) -> bool:
    """Nothing queued, nothing running, no block held."""
    stats = engine.stats()
    return stats.queue_depth == stats.running == stats.waiting == stats.kv_blocks_used == 0
