"""One place where threads sleep until woken or until a time passes, and the core's clock."""

from libc.stdint cimport int64_t

cdef extern from "parking.h" nogil:
    ctypedef struct ox_parking:
        pass

    int64_t ox_monotonic_ns() noexcept
    int ox_parking_init(ox_parking *p) noexcept  # 0, or an errno value
    void ox_parking_destroy(ox_parking *p) noexcept
    void ox_parking_lock(ox_parking *p) noexcept
    void ox_parking_unlock(ox_parking *p) noexcept
    # With the lock held. timeout_ns < 0 means no limit; may return early.
    void ox_parking_wait(ox_parking *p, int64_t timeout_ns) noexcept
    void ox_parking_wake_all(ox_parking *p) noexcept  # with the lock held
