"""Places in the queue go to whoever waits, in the order of arrival, and are counted in by the one who frees them."""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from oxillama._core.atomics cimport (
    ox_compare_exchange_seq_cst_i32,
    ox_exchange_seq_cst_i32,
    ox_fetch_add_seq_cst_i32,
    ox_load_acquire_i32,
    ox_load_seq_cst_i32,
    ox_store_seq_cst_i32,
)
from oxillama._core.scheduling.mailbox cimport mailbox_post, mailbox_ref, mailbox_unref
from oxillama._core.parking cimport (
    ox_parking_destroy,
    ox_parking_init,
    ox_parking_lock,
    ox_parking_unlock,
    ox_parking_wait,
    ox_parking_wake_all,
)


cdef int capacity_init(ox_capacity *capacity, int32_t size) noexcept nogil:
    memset(capacity, 0, sizeof(ox_capacity))
    capacity.size = size
    return ox_parking_init(&capacity.parking)


cdef void capacity_destroy(ox_capacity *capacity) noexcept nogil:
    ox_parking_destroy(&capacity.parking)


cdef bint count_in(ox_capacity *capacity, int32_t n) noexcept nogil:
    cdef int32_t num_taken = ox_load_seq_cst_i32(&capacity.num_taken)
    while num_taken <= capacity.size - n:
        if ox_compare_exchange_seq_cst_i32(&capacity.num_taken, &num_taken, num_taken + n):
            return True
    return False


cdef bint capacity_take(ox_capacity *capacity, int32_t n) noexcept nogil:
    return ox_load_seq_cst_i32(&capacity.num_waiting) == 0 and count_in(capacity, n)


cdef void capacity_give_back(ox_capacity *capacity, int32_t n) noexcept nogil:
    # seq_cst, as the count of those who wait: either this sees them, or they see the place.
    ox_fetch_add_seq_cst_i32(&capacity.num_taken, -n)
    if ox_load_seq_cst_i32(&capacity.num_waiting) > 0:
        ox_parking_lock(&capacity.parking)
        grant(capacity)
        ox_parking_unlock(&capacity.parking)


# With the lock held, so that no waiter goes away.

cdef void grant(ox_capacity *capacity) noexcept nogil:
    cdef ox_waiter *waiter = capacity.first
    while waiter != NULL and count_in(capacity, waiter.wanted):
        unlist(capacity, waiter)
        ox_store_seq_cst_i32(&waiter.granted, 1)
        wake(waiter)
        waiter = capacity.first


cdef void wake(ox_waiter *waiter) noexcept nogil:
    ox_store_seq_cst_i32(&waiter.woken, 1)
    ox_parking_lock(&waiter.parking)
    ox_parking_wake_all(&waiter.parking)
    ox_parking_unlock(&waiter.parking)
    if waiter.mailbox != NULL:
        mailbox_post(waiter.mailbox)


cdef void unlist(ox_capacity *capacity, ox_waiter *waiter) noexcept nogil:
    if waiter.previous != NULL:
        waiter.previous.next = waiter.next
    else:
        capacity.first = waiter.next
    if waiter.next != NULL:
        waiter.next.previous = waiter.previous
    else:
        capacity.last = waiter.previous
    waiter.is_listed = False
    ox_fetch_add_seq_cst_i32(&capacity.num_waiting, -1)


cdef void capacity_wake_all(ox_capacity *capacity) noexcept nogil:
    cdef ox_waiter *waiter
    ox_parking_lock(&capacity.parking)
    waiter = capacity.first
    while waiter != NULL:
        wake(waiter)
        waiter = waiter.next
    ox_parking_unlock(&capacity.parking)


cdef int waiter_join(ox_capacity *capacity, ox_waiter *waiter, int32_t n) noexcept nogil:
    memset(waiter, 0, sizeof(ox_waiter))
    waiter.wanted = n
    cdef int error = ox_parking_init(&waiter.parking)
    if error:
        return error
    ox_parking_lock(&capacity.parking)
    waiter.previous = capacity.last
    if capacity.last != NULL:
        capacity.last.next = waiter
    else:
        capacity.first = waiter
    capacity.last = waiter
    waiter.is_listed = True
    ox_fetch_add_seq_cst_i32(&capacity.num_waiting, 1)
    grant(capacity)
    ox_parking_unlock(&capacity.parking)
    return 0


cdef void waiter_leave(ox_capacity *capacity, ox_waiter *waiter) noexcept nogil:
    ox_parking_lock(&capacity.parking)
    if waiter.is_listed:
        unlist(capacity, waiter)
        grant(capacity)  # the next may want less
    ox_parking_unlock(&capacity.parking)
    if waiter_use(waiter):
        capacity_give_back(capacity, waiter.wanted)


cdef void waiter_destroy(ox_capacity *capacity, ox_waiter *waiter) noexcept nogil:
    waiter_leave(capacity, waiter)
    mailbox_unref(waiter.mailbox)
    ox_parking_destroy(&waiter.parking)


cdef bint waiter_use(ox_waiter *waiter) noexcept nogil:
    return ox_exchange_seq_cst_i32(&waiter.granted, 0) != 0


cdef bint waiter_attach(ox_capacity *capacity, ox_waiter *waiter, ox_mailbox *mailbox) noexcept nogil:
    cdef bint fits
    ox_parking_lock(&capacity.parking)
    if waiter.mailbox == NULL:
        waiter.mailbox = mailbox_ref(mailbox)
    fits = waiter.mailbox == mailbox
    ox_parking_unlock(&capacity.parking)
    return fits


cdef bint waiter_has_update(ox_waiter *waiter) noexcept nogil:
    return ox_load_acquire_i32(&waiter.woken) != 0


cdef void waiter_clear(ox_waiter *waiter) noexcept nogil:
    ox_store_seq_cst_i32(&waiter.woken, 0)


cdef void waiter_wait(ox_waiter *waiter, int64_t timeout_ns) noexcept nogil:
    # A waker sets `woken` before it takes the lock, so it cannot come between the look and the wait.
    ox_parking_lock(&waiter.parking)
    if ox_load_seq_cst_i32(&waiter.woken) == 0:
        ox_parking_wait(&waiter.parking, timeout_ns)
    ox_parking_unlock(&waiter.parking)


cdef void waiter_wake(ox_capacity *capacity, ox_waiter *waiter) noexcept nogil:
    ox_parking_lock(&capacity.parking)
    wake(waiter)
    ox_parking_unlock(&capacity.parking)
