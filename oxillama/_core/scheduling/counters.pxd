"""What a scheduler counts, for whoever looks on from another thread."""

from oxillama._core.scheduling.scheduler cimport ox_scheduler

# By the names in scheduler.pxd.
cdef dict scheduler_counters(ox_scheduler *s)
