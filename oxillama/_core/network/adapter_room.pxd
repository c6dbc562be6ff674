"""Where a program's steps keep what adapters make of their rows."""

from oxillama._core.atomics cimport ox_atomic_ptr

cdef class AdapterRooms:
    # The last is in use; steps may still be in the others.
    cdef list _rooms
    cdef object _growing
    # Bytes of a room of so many floats, 0 if there is one already.
    cdef size_t needed(self, size_t floats)
    # Makes it, and shows it at `place`; None if there is one already.
    cdef object make(self, ox_atomic_ptr *place, size_t floats)
