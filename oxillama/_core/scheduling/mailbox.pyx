"""How the worker wakes an event loop: an eventfd that is written once and stays quiet until the loop has looked."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from oxillama._core.atomics cimport (
    ox_exchange_seq_cst_i32,
    ox_fetch_add_acq_rel_i32,
    ox_fetch_add_relaxed_i32,
    ox_store_relaxed_i32,
    ox_store_seq_cst_i32,
)

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int value, int flags)
    int EFD_NONBLOCK, EFD_CLOEXEC

cdef extern from "<unistd.h>" nogil:
    ssize_t read(int fd, void *buffer, size_t n)
    ssize_t write(int fd, const void *buffer, size_t n)
    int close(int fd)


cdef ox_mailbox *mailbox_ref(ox_mailbox *mailbox) noexcept nogil:
    if mailbox != NULL:
        ox_fetch_add_relaxed_i32(&mailbox.num_references, 1)
    return mailbox


cdef void mailbox_unref(ox_mailbox *mailbox) noexcept nogil:
    if mailbox != NULL and ox_fetch_add_acq_rel_i32(&mailbox.num_references, -1) == 1:
        close(mailbox.fd)
        free(mailbox)


cdef void mailbox_post(ox_mailbox *mailbox) noexcept nogil:
    cdef uint64_t one = 1
    if ox_exchange_seq_cst_i32(&mailbox.armed, 0):
        # A full counter means that a wake is pending already.
        write(mailbox.fd, &one, sizeof(one))


cdef class Mailbox:
    """A wake-up descriptor for one event loop."""

    def __cinit__(self):
        cdef int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if fd < 0:
            raise OSError("cannot make an eventfd")
        self.c = <ox_mailbox *>malloc(sizeof(ox_mailbox))
        if self.c == NULL:
            close(fd)
            raise MemoryError("no memory for a mailbox")
        ox_store_relaxed_i32(&self.c.num_references, 1)
        ox_store_seq_cst_i32(&self.c.armed, 1)
        self.c.fd = fd

    def __dealloc__(self):
        mailbox_unref(self.c)

    def fileno(self):
        return self.c.fd

    def clear(self):
        """Drains the descriptor, then rearms. Look for updates after this, not before."""
        cdef uint64_t count
        read(self.c.fd, &count, sizeof(count))
        # An exchange, not a store: it reads from a post that found the mailbox disarmed, and so sees what was posted.
        ox_exchange_seq_cst_i32(&self.c.armed, 1)
