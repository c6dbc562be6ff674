"""Turns of engines in one process: each step draws a number, and goes when it is called. So no engine goes twice while
another waits, and no more threads work than the largest of them has."""

from libc.stdint cimport uint32_t
from posix.unistd cimport getpid

from oxillama._core.atomics cimport (
    ox_fetch_add_relaxed_i64,
    ox_load_acquire_ptr,
    ox_load_relaxed_i64,
)

cdef extern from "threads.h" nogil:
    void ox_gate_init(ox_gate *gate) noexcept
    uint32_t ox_gate_turn(ox_gate *gate) noexcept
    void ox_gate_wait(ox_gate *gate, uint32_t turn, int spins) noexcept
    void ox_gate_open(ox_gate *gate, uint32_t turn) noexcept


cdef ox_turns *turns_enter(ox_atomic_ptr *turns) noexcept nogil:
    cdef ox_turns *own = <ox_turns *>ox_load_acquire_ptr(turns)
    if own != NULL:
        enter(own)
    return own


cdef void enter(ox_turns *turns) noexcept nogil:
    cdef uint32_t number = <uint32_t>ox_fetch_add_relaxed_i64(&turns.n_drawn, 1), now = ox_gate_turn(&turns.gate)
    while now != number:
        ox_gate_wait(&turns.gate, now, 0)
        now = ox_gate_turn(&turns.gate)


cdef void turns_leave(ox_turns *turns) noexcept nogil:
    # Nobody else opens the gate while this one has its turn.
    if turns != NULL:
        ox_gate_open(&turns.gate, ox_gate_turn(&turns.gate) + 1)


cdef class Turns:
    """Shared by the engines that take turns."""

    def __cinit__(self):
        ox_gate_init(&self.c.gate)
        self.process = getpid()

    @property
    def n_drawn(self):
        """How many turns have been asked for so far."""
        return ox_load_relaxed_i64(&self.c.n_drawn)

    @property
    def is_inherited(self):
        """Made before a fork: a worker of the parent may have had a turn, which nobody gives back here."""
        return self.process != getpid()

    # For tests. Whoever closes an engine, or waits for one, in a turn of their own waits for ever.
    def _enter(self):
        with nogil:
            enter(&self.c)

    def _leave(self):
        turns_leave(&self.c)
