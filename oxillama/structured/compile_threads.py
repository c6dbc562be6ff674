"""The threads that compile grammars: at most a few in the whole process, each with a large stack."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

# Grammars that are compiled at a time: as long as a hostile one runs, others still are.
MAX_COMPILING = 2
# The engine recurses over references, with some 10 kB for each; a grammar's text has at most some 20,000.
STACK_BYTES = 512 << 20

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
        try:
            threading.Thread(target=_work, name="oxillama-grammar", daemon=True).start()
            _n_threads += 1
        except BaseException:
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
        job()
