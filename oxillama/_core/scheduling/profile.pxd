"""Where the time of a step goes: nanoseconds of one thread in each operation, and in the barriers before it."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.atomics cimport ox_atomic_i64

# Written by the thread that runs the steps, readable by any other; every figure only ever grows.
ctypedef struct ox_profile:
    ox_atomic_i64 *op_ns     # [n_ops] in the operation
    ox_atomic_i64 *wait_ns   # [n_ops] at its barrier, for the other threads
    ox_atomic_i64 walk_ns    # in execute(): all of the above, and assembling the team
    ox_atomic_i64 sample_ns  # choosing the next tokens
    ox_atomic_i64 step_ns    # whole steps: the two above, and telling the requests
    ox_atomic_i64 n_steps

# By the one writer.
cdef void profile_add(ox_atomic_i64 *sum, int64_t value) noexcept nogil
# Adds the time since `begin`; returns now.
cdef int64_t profile_lap(ox_atomic_i64 *sum, int64_t begin) noexcept nogil

cdef class Profile:
    cdef ox_profile c
    cdef int32_t _n_ops
