"""How the worker wakes an event loop: one file descriptor per loop, written at most once until the loop has looked.

The order on the loop's side is drain, rearm, read; that makes it lossless, since whatever is published after the rearm
writes again."""

from libc.stdint cimport int32_t

from oxillama._core.atomics cimport ox_atomic_i32

ctypedef struct ox_mailbox:
    ox_atomic_i32 num_references
    ox_atomic_i32 armed
    int32_t fd

cdef ox_mailbox *mailbox_ref(ox_mailbox *mailbox) noexcept nogil
# Closes the descriptor with the last reference. NULL is allowed.
cdef void mailbox_unref(ox_mailbox *mailbox) noexcept nogil
cdef void mailbox_post(ox_mailbox *mailbox) noexcept nogil

cdef class Mailbox:
    cdef ox_mailbox *c
