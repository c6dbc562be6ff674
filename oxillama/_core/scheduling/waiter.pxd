"""The Python end of a wait for capacity of the queue."""

from oxillama._core.scheduling.capacity cimport ox_capacity, ox_waiter
from oxillama._core.scheduling.worker cimport Worker

cdef class Waiter:
    cdef ox_waiter c
    cdef Worker _worker
    cdef ox_capacity *_capacity  # of the worker
    cdef bint _is_joined
