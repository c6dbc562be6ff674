"""The Python end of a wait for capacity of the queue, given up with the last reference."""

cimport cython
from libc.stdint cimport int32_t, int64_t

from oxillama._core.scheduling.mailbox cimport Mailbox
from oxillama._core.scheduling.capacity cimport (
    waiter_attach,
    waiter_clear,
    waiter_destroy,
    waiter_has_update,
    waiter_join,
    waiter_leave,
    waiter_wait,
    waiter_wake,
)
from oxillama._core.scheduling.worker cimport Worker

cdef extern from "<unistd.h>" nogil:
    int getpid()


@cython.no_gc_clear  # __dealloc__ needs the worker, and nothing the worker holds leads back here
cdef class Waiter:
    """Waits for capacity for `n_requests` in the queue of a worker. handle.submit() takes a waiter that is granted.

    until_rest: waits instead for the worker to have nothing to do, and is never granted; look at its counters then."""

    def __init__(self, Worker worker not None, int32_t n_requests, *, bint until_rest=False):
        if self._is_joined:
            raise ValueError("the waiter has joined already")
        self._capacity = &worker.c.at_rest if until_rest else &worker.c.ring.capacity
        if not 0 < n_requests <= self._capacity.size:
            raise ValueError(f"{n_requests} requests in a queue of {self._capacity.size}")
        if waiter_join(self._capacity, &self.c, n_requests) != 0:
            raise MemoryError("no memory to wait for the queue")
        self._worker = worker
        self._is_joined = True

    def __dealloc__(self):
        # In a forked child the lock may be held by a thread that is not here.
        if self._is_joined and self._worker._pid == getpid():
            waiter_destroy(self._capacity, &self.c)

    def attach(self, Mailbox mailbox not None):
        """Posts the mailbox too when there is an update. Look for updates afterwards."""
        if not waiter_attach(self._capacity, &self.c, mailbox.c):
            raise RuntimeError("the request is already awaited in another event loop")

    def has_update(self):
        """There is capacity, or the engine's state has changed, or wake() was called."""
        return bool(waiter_has_update(&self.c))

    def clear(self):
        """Forgets the update; call before looking at what it may be about."""
        waiter_clear(&self.c)

    def wait(self, double timeout):
        """Sleeps without the GIL until there is an update, or `timeout` seconds."""
        cdef int64_t timeout_ns = <int64_t>(timeout * 1e9)
        with nogil:
            waiter_wait(&self.c, timeout_ns)

    def wake(self):
        """An update for whoever waits. Does nothing in a forked child."""
        if self._worker._pid == getpid():
            waiter_wake(self._capacity, &self.c)

    def leave(self):
        """Gives up the place, which is never granted any more, and wakes whoever waits. May be called again; does
        nothing in a forked child."""
        if self._worker._pid == getpid():
            waiter_leave(self._capacity, &self.c)
            waiter_wake(self._capacity, &self.c)
