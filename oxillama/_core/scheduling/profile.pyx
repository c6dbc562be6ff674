"""Where the time of a step goes: nanoseconds of one thread in each operation, and in the barriers before it.

A program without one pays a comparison with NULL per operation. Threads that are not timed show as waiting at the
barriers of the one that is, so an uneven division is visible too."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free

from oxillama._core.atomics cimport ox_load_relaxed_i64, ox_store_relaxed_i64
from oxillama._core.parking cimport ox_monotonic_ns


cdef void profile_add(ox_atomic_i64 *sum, int64_t value) noexcept nogil:
    ox_store_relaxed_i64(sum, ox_load_relaxed_i64(sum) + value)


cdef int64_t profile_lap(ox_atomic_i64 *sum, int64_t begin) noexcept nogil:
    cdef int64_t now = ox_monotonic_ns()
    profile_add(sum, now - begin)
    return now


cdef class Profile:
    def __cinit__(self, int32_t n_ops):
        if n_ops < 1:
            raise ValueError(f"a profile needs at least one operation, found {n_ops}")
        self._n_ops = n_ops
        self.c.op_ns = <ox_atomic_i64 *>calloc(n_ops, sizeof(int64_t))
        self.c.wait_ns = <ox_atomic_i64 *>calloc(n_ops, sizeof(int64_t))
        if self.c.op_ns == NULL or self.c.wait_ns == NULL:
            raise MemoryError("no memory for the profile")

    def __dealloc__(self):
        free(self.c.op_ns)
        free(self.c.wait_ns)

    @property
    def n_steps(self):
        return ox_load_relaxed_i64(&self.c.n_steps)

    @property
    def walk_ns(self):
        return ox_load_relaxed_i64(&self.c.walk_ns)

    @property
    def sample_ns(self):
        return ox_load_relaxed_i64(&self.c.sample_ns)

    @property
    def step_ns(self):
        return ox_load_relaxed_i64(&self.c.step_ns)

    def operations(self):
        cdef int32_t i
        return [(ox_load_relaxed_i64(&self.c.op_ns[i]), ox_load_relaxed_i64(&self.c.wait_ns[i]))
                for i in range(self._n_ops)]
