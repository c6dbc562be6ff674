"""The threads that compile grammars: at most a few in the whole process, each with a large stack."""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable

# Grammars that are compiled at a time: as long as a hostile one runs, others still are.
MAX_COMPILING = 2
# The engine recurses over references, with some 10 kB for each; a grammar's text has at most some 20,000.
STACK_BYTES = 512 << 20

logger: logging.Logger = logging.getLogger("oxillama")

_lock = threading.Lock()
_waiting: deque[Callable[[], None]] = deque()
_n_threads = 0


def compile_beside(job: Callable[[], None]) -> None:
    """Runs a job in one of the threads, after those that came before. Raises RuntimeError or ValueError where there
    is no thread with such a stack, and none that would get to it."""
    global _n_threads
    with _lock:
        _waiting.append(job)
        if _n_threads == MAX_COMPILING:
            return
        before = threading.stack_size(STACK_BYTES)
        _n_threads += 1
        try:
            threading.Thread(target=_work, name="oxillama-grammar", daemon=True).start()
        except (RuntimeError, ValueError):
            _n_threads -= 1
            if not _n_threads:
                _waiting.remove(job)
                raise
        finally:
            threading.stack_size(before)


def _work() -> None:
    global _n_threads
    while True:
        with _lock:
            if not _waiting:
                _n_threads -= 1
                return
            job = _waiting.popleft()
        try:
            job()
        except BaseException:
            logger.exception("a grammar was not compiled")


def _forget_threads() -> None:
    """In a forked child, which has none of them: what they had begun is lost, and who waits for it gives up in time."""
    global _lock, _n_threads
    _lock, _n_threads = threading.Lock(), 0
    _waiting.clear()


os.register_at_fork(after_in_child=_forget_threads)
