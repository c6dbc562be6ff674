"""The capacity of the queue: how many requests are in it, and who waits to come in, in order."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.atomics cimport ox_atomic_i32
from oxillama._core.scheduling.mailbox cimport ox_mailbox
from oxillama._core.parking cimport ox_parking

# Somebody who waits for capacity.
ctypedef struct ox_waiter:
    ox_waiter *next
    ox_waiter *previous
    int32_t wanted
    bint is_listed
    ox_atomic_i32 granted     # as many as `wanted` are counted in for it
    ox_atomic_i32 woken       # granted, or there is another reason to look up
    ox_mailbox *mailbox       # posted when woken, or NULL
    ox_parking parking        # where the owner sleeps

ctypedef struct ox_capacity:
    int32_t size
    ox_atomic_i32 num_taken
    ox_atomic_i32 num_waiting
    ox_waiter *first          # the waiters in order, guarded by the lock of `parking`
    ox_waiter *last
    ox_parking parking

# 0, or an errno value.
cdef int capacity_init(ox_capacity *capacity, int32_t size) noexcept nogil
cdef void capacity_destroy(ox_capacity *capacity) noexcept nogil
# Any thread. Counts n in, all or none; none while somebody waits, who would otherwise be overtaken for ever.
cdef bint capacity_take(ox_capacity *capacity, int32_t n) noexcept nogil
# Any thread. Counts n out; the first waiter may come in.
cdef void capacity_give_back(ox_capacity *capacity, int32_t n) noexcept nogil
# Any thread. Whoever waits is to look at the engine's state.
cdef void capacity_wake_all(ox_capacity *capacity) noexcept nogil

# 0, or an errno value. n: between 1 and the size of the capacity.
cdef int waiter_join(ox_capacity *capacity, ox_waiter *waiter, int32_t n) noexcept nogil
# Waits no longer and gives back what was granted, unless waiter_use() took it over. May be called again, and by any
# thread that keeps the waiter alive.
cdef void waiter_leave(ox_capacity *capacity, ox_waiter *waiter) noexcept nogil
# Leaves, and frees what the waiter holds.
cdef void waiter_destroy(ox_capacity *capacity, ox_waiter *waiter) noexcept nogil
# True once for a granted waiter: its places are the caller's.
cdef bint waiter_use(ox_waiter *waiter) noexcept nogil
# Posts the mailbox too. Look for updates afterwards. False if another one is attached.
cdef bint waiter_attach(ox_capacity *capacity, ox_waiter *waiter, ox_mailbox *mailbox) noexcept nogil
cdef bint waiter_has_update(ox_waiter *waiter) noexcept nogil
# Forgets the update; call before looking at what it may be about.
cdef void waiter_clear(ox_waiter *waiter) noexcept nogil
# Sleeps until there is an update or timeout_ns passed.
cdef void waiter_wait(ox_waiter *waiter, int64_t timeout_ns) noexcept nogil
# Any thread that keeps the waiter alive: an update for its owner.
cdef void waiter_wake(ox_capacity *capacity, ox_waiter *waiter) noexcept nogil
