"""The Python end of a wait for room in the queue."""

from oxillama._core.scheduling.room cimport ox_room, ox_ticket
from oxillama._core.scheduling.worker cimport Worker

cdef class Ticket:
    cdef ox_ticket c
    cdef Worker _worker
    cdef ox_room *_room  # of the worker
    cdef bint _is_joined
