"""The request ring: many submitting threads, one worker, bounded; never blocks a submitter, needs no GIL."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.atomics cimport ox_atomic_i32, ox_atomic_i64
from oxillama._core.parking cimport ox_parking
from oxillama._core.request cimport ox_request
from oxillama._core.scheduling.capacity cimport ox_capacity
from oxillama._core.status cimport ox_status

# `turn` says who may touch the cell: position p may be filled when turn == p, taken when turn == p + 1.
ctypedef struct ox_ring_cell:
    ox_atomic_i64 turn
    ox_request *request

ctypedef struct ox_ring:
    ox_ring_cell *cells          # [cell_mask + 1]
    int64_t cell_mask
    int32_t queue_size
    ox_atomic_i64 tail           # next position to fill
    int64_t head                 # next position to take; the consumer's
    ox_capacity capacity         # its num_taken: submitted and not yet running, in the ring or in the scheduler
    ox_atomic_i32 num_submitting  # threads inside ring_submit()
    ox_atomic_i32 closed
    ox_atomic_i32 sleeping       # the consumer sleeps, or is about to
    ox_atomic_i32 poked          # ring_wake() was called
    ox_parking parking

# NULL when queue_size < 1 or memory is short.
cdef ox_ring *ring_create(int32_t queue_size) noexcept nogil
# Nobody may use the ring any more. Gives up the references of requests still inside.
cdef void ring_destroy(ox_ring *ring) noexcept nogil

# Any thread. Takes all n requests, each with one reference of the caller's, or none of them.
# OX_OK, OX_QUEUE_FULL at once, OX_CLOSED, or OX_INVALID (n < 1).
cdef ox_status ring_submit(ox_ring *ring, ox_request **requests, int32_t n) noexcept nogil
# The same for requests whose places have been counted in, see waiter_use(); never OX_QUEUE_FULL.
cdef ox_status ring_submit_counted(ox_ring *ring, ox_request **requests, int32_t n) noexcept nogil
# Any thread: refuses every later submit, and wakes the consumer and those who wait for capacity.
cdef void ring_close(ox_ring *ring) noexcept nogil
# Any thread: the next or present ring_sleep() returns.
cdef void ring_wake(ox_ring *ring) noexcept nogil

# Consumer only. The oldest request with its reference, or NULL. It counts as queued until ring_left_queue().
cdef ox_request *ring_take(ox_ring *ring) noexcept nogil
# Consumer only: a request taken has begun to run, or ended before. Its place goes to the first who waits.
cdef void ring_left_queue(ox_ring *ring) noexcept nogil
# Consumer only: sleeps until there is a request, ring_wake(), ring_close(), or timeout_ns (negative: no limit).
cdef void ring_sleep(ox_ring *ring, int64_t timeout_ns) noexcept nogil
# Consumer only, after ring_close(): no thread is submitting any more, so an empty ring stays empty.
cdef bint ring_is_quiet(ox_ring *ring) noexcept nogil
