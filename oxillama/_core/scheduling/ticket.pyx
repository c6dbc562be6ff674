"""The Python end of a wait for room in the queue: a place in the line, given up with the last reference."""

cimport cython
from libc.stdint cimport int32_t, int64_t

from oxillama._core.scheduling.mailbox cimport Mailbox
from oxillama._core.scheduling.room cimport (
    ticket_attach,
    ticket_clear,
    ticket_destroy,
    ticket_has_news,
    ticket_join,
    ticket_leave,
    ticket_wait,
    ticket_wake,
)
from oxillama._core.scheduling.worker cimport Worker

cdef extern from "<unistd.h>" nogil:
    int getpid()


@cython.no_gc_clear  # __dealloc__ needs the worker, and nothing the worker holds leads back here
cdef class Ticket:
    """Joins the line for `n_places` places in the queue of a worker. handle.submit() takes a ticket that is granted.

    until_rest: waits instead for the worker to have nothing to do, and is never granted; look at its counters then."""

    def __init__(self, Worker worker not None, int32_t n_places, *, bint until_rest=False):
        if self._is_joined:
            raise ValueError("the ticket has joined already")
        self._room = &worker.c.at_rest if until_rest else &worker.c.ring.room
        if not 0 < n_places <= self._room.size:
            raise ValueError(f"{n_places} places in a queue of {self._room.size}")
        if ticket_join(self._room, &self.c, n_places) != 0:
            raise MemoryError("no memory to wait for the queue")
        self._worker = worker
        self._is_joined = True

    def __dealloc__(self):
        # In a forked child the lock may be held by a thread that is not here.
        if self._is_joined and self._worker._pid == getpid():
            ticket_destroy(self._room, &self.c)

    def attach(self, Mailbox mailbox not None):
        """Posts the mailbox too when there are news. Look for news afterwards."""
        if not ticket_attach(self._room, &self.c, mailbox.c):
            raise RuntimeError("the request is already awaited in another event loop")

    def has_news(self):
        """There is room, or the engine's state has changed, or wake() was called."""
        return bool(ticket_has_news(&self.c))

    def clear(self):
        """Forgets the news; call before looking at what they may be about."""
        ticket_clear(&self.c)

    def wait(self, double timeout):
        """Sleeps without the GIL until there are news, or `timeout` seconds."""
        cdef int64_t timeout_ns = <int64_t>(timeout * 1e9)
        with nogil:
            ticket_wait(&self.c, timeout_ns)

    def wake(self):
        """News for whoever waits. Does nothing in a forked child."""
        if self._worker._pid == getpid():
            ticket_wake(self._room, &self.c)

    def leave(self):
        """Gives up the place, which is never granted any more, and wakes whoever waits. May be called again; does
        nothing in a forked child."""
        if self._worker._pid == getpid():
            ticket_leave(self._room, &self.c)
            ticket_wake(self._room, &self.c)
