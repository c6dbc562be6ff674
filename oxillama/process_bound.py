"""A base for objects that are threads and memory of one process, which nothing can copy or send."""

from __future__ import annotations

from typing import Never, SupportsIndex


class ProcessBound:
    """Pickling and copying are TypeErrors that say what to do instead."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> Never:
        # Of pickle, copy.copy() and copy.deepcopy(), and so of multiprocessing and of whatever hands work to processes.
        raise TypeError(
            f"{self!r} cannot be pickled or copied: it is threads and memory of this process. Open one engine in each "
            "process, from its path, or share one over HTTP with `oxillama serve`; within a process all threads and "
            "tasks share the engine itself"
        )
