"""The owner of a team of threads: makes its members, and joins them when it is closed or not needed any more."""

import os
import resource

from libc.stdint cimport int32_t
from libc.stdlib cimport free

from oxillama.errors import ModelLoadError

cdef extern from "<unistd.h>" nogil:
    int getpid()

cdef extern from "team.h" nogil:
    int ox_team_start(ox_team **made, int32_t *size) noexcept
    void ox_team_stop(ox_team *team) noexcept


cdef object thread_refused(int error, int number, int total):
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    processes = "unlimited" if limit == resource.RLIM_INFINITY else limit
    return ModelLoadError(
        f"the system refused thread {number} of {total} ({os.strerror(error)}): a limit on threads "
        f"(ulimit -u: {processes}; pids.max of the control group) or on memory has been reached"
    )


cdef class Team:
    """`size` threads: `size` - 1 of its own, and whoever calls it.

    Raises ModelLoadError when the system refuses a thread."""

    def __cinit__(self, int32_t size):
        cdef int32_t possible = size
        cdef int error
        if size < 1:
            raise ValueError(f"n_threads must be at least 1, found {size}")
        self._pid = getpid()
        error = ox_team_start(&self.c, &possible)
        if error != 0:
            raise thread_refused(error, possible + 1, size)

    def __dealloc__(self):
        if self.c != NULL:
            self.close()
            free(self.c)

    def close(self):
        """Ends the members; the caller goes on alone. May be called again; no work may be under way."""
        ox_team_stop(self.here())

    @property
    def size(self):
        return self.here().size

    cdef ox_team *here(self) noexcept:
        if self._pid != getpid():
            self.c.size = 1
        return self.c
