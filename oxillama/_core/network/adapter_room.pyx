"""Where a program's steps keep what adapters make of their rows: memory that grows with the sets in use."""

from libc.stdint cimport uint8_t

import threading

from oxillama._core.atomics cimport ox_atomic_i32, ox_store_release_ptr
from oxillama._core.memory cimport Pages
from oxillama._core.network.adapter cimport OX_ADAPTER_ENTRIES, OX_ADAPTER_PARTS, ox_adapter_room


cdef size_t room_bytes(size_t floats) noexcept nogil:
    return (OX_ADAPTER_PARTS + floats) * sizeof(float) + OX_ADAPTER_ENTRIES * sizeof(ox_atomic_i32)


cdef class AdapterRoom:
    """As long as the program lives. Pages come when they are written."""

    cdef object __weakref__
    cdef ox_adapter_room c
    cdef size_t floats
    cdef Pages pages

    def __init__(self, size_t n_bytes):
        self.pages = Pages(n_bytes)
        self.c.parts = <float *>self.pages.c.data
        self.c.done = <ox_atomic_i32 *>(self.c.parts + OX_ADAPTER_PARTS)
        self.c.values = <float *>(self.c.done + OX_ADAPTER_ENTRIES)
        self.floats = (self.pages.c.data + n_bytes - <uint8_t *>self.c.values) // sizeof(float)

    @property
    def n_resident(self):
        return self.pages.n_resident


cdef class AdapterRooms:
    """Those of one program. Each is at least twice as large as the one before, so they are few."""

    def __cinit__(self):
        self._rooms = []
        self._growing = threading.Lock()

    cdef size_t needed(self, size_t floats):
        cdef AdapterRoom last
        if not self._rooms:
            return room_bytes(floats)
        last = self._rooms[len(self._rooms) - 1]
        return 0 if floats <= last.floats else room_bytes(max(floats, 2 * last.floats))

    cdef object make(self, ox_atomic_ptr *place, size_t floats):
        cdef AdapterRoom room
        cdef size_t n_bytes
        with self._growing:
            n_bytes = self.needed(floats)
            if n_bytes == 0:
                return None
            room = AdapterRoom(n_bytes)
            self._rooms.append(room)
            ox_store_release_ptr(place, &room.c)
            return room
