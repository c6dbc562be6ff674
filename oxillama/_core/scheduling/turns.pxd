"""Whose step may run, of engines that would rather wait for each other than share processors."""

from oxillama._core.atomics cimport ox_atomic_i64, ox_atomic_ptr

cdef extern from "threads.h" nogil:
    ctypedef struct ox_gate:
        pass

ctypedef struct ox_turns:
    ox_gate gate            # its turn: the number that may go
    ox_atomic_i64 n_drawn   # numbers that have been drawn

# Waits, asleep, until the caller may go: first come, first served. Returns what is to be given back to turns_leave();
# NULL, at once, where there are no turns.
cdef ox_turns *turns_enter(ox_atomic_ptr *turns) noexcept nogil
cdef void turns_leave(ox_turns *turns) noexcept nogil

cdef class Turns:
    cdef ox_turns c
    cdef int process
