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


cdef int room_init(ox_room *room, int32_t size) noexcept nogil:
    memset(room, 0, sizeof(ox_room))
    room.size = size
    return ox_parking_init(&room.parking)


cdef void room_destroy(ox_room *room) noexcept nogil:
    ox_parking_destroy(&room.parking)


cdef bint count_in(ox_room *room, int32_t n) noexcept nogil:
    cdef int32_t num_taken = ox_load_seq_cst_i32(&room.num_taken)
    while num_taken <= room.size - n:
        if ox_compare_exchange_seq_cst_i32(&room.num_taken, &num_taken, num_taken + n):
            return True
    return False


cdef bint room_take(ox_room *room, int32_t n) noexcept nogil:
    return ox_load_seq_cst_i32(&room.num_waiting) == 0 and count_in(room, n)


cdef void room_give_back(ox_room *room, int32_t n) noexcept nogil:
    # seq_cst, as the count of those who wait: either this sees them, or they see the place.
    ox_fetch_add_seq_cst_i32(&room.num_taken, -n)
    if ox_load_seq_cst_i32(&room.num_waiting) > 0:
        ox_parking_lock(&room.parking)
        grant(room)
        ox_parking_unlock(&room.parking)


# With the lock of the room held, so that no ticket of the line goes away.

cdef void grant(ox_room *room) noexcept nogil:
    cdef ox_ticket *ticket = room.first
    while ticket != NULL and count_in(room, ticket.wanted):
        unlist(room, ticket)
        ox_store_seq_cst_i32(&ticket.granted, 1)
        wake(ticket)
        ticket = room.first


cdef void wake(ox_ticket *ticket) noexcept nogil:
    ox_store_seq_cst_i32(&ticket.woken, 1)
    ox_parking_lock(&ticket.parking)
    ox_parking_wake_all(&ticket.parking)
    ox_parking_unlock(&ticket.parking)
    if ticket.mailbox != NULL:
        mailbox_post(ticket.mailbox)


cdef void unlist(ox_room *room, ox_ticket *ticket) noexcept nogil:
    if ticket.previous != NULL:
        ticket.previous.next = ticket.next
    else:
        room.first = ticket.next
    if ticket.next != NULL:
        ticket.next.previous = ticket.previous
    else:
        room.last = ticket.previous
    ticket.is_listed = False
    ox_fetch_add_seq_cst_i32(&room.num_waiting, -1)


cdef void room_wake_all(ox_room *room) noexcept nogil:
    cdef ox_ticket *ticket
    ox_parking_lock(&room.parking)
    ticket = room.first
    while ticket != NULL:
        wake(ticket)
        ticket = ticket.next
    ox_parking_unlock(&room.parking)


cdef int ticket_join(ox_room *room, ox_ticket *ticket, int32_t n) noexcept nogil:
    memset(ticket, 0, sizeof(ox_ticket))
    ticket.wanted = n
    cdef int error = ox_parking_init(&ticket.parking)
    if error:
        return error
    ox_parking_lock(&room.parking)
    ticket.previous = room.last
    if room.last != NULL:
        room.last.next = ticket
    else:
        room.first = ticket
    room.last = ticket
    ticket.is_listed = True
    ox_fetch_add_seq_cst_i32(&room.num_waiting, 1)
    grant(room)
    ox_parking_unlock(&room.parking)
    return 0


cdef void ticket_leave(ox_room *room, ox_ticket *ticket) noexcept nogil:
    ox_parking_lock(&room.parking)
    if ticket.is_listed:
        unlist(room, ticket)
        grant(room)  # the next may want less
    ox_parking_unlock(&room.parking)
    if ticket_use(ticket):
        room_give_back(room, ticket.wanted)


cdef void ticket_destroy(ox_room *room, ox_ticket *ticket) noexcept nogil:
    ticket_leave(room, ticket)
    mailbox_unref(ticket.mailbox)
    ox_parking_destroy(&ticket.parking)


cdef bint ticket_use(ox_ticket *ticket) noexcept nogil:
    return ox_exchange_seq_cst_i32(&ticket.granted, 0) != 0


cdef bint ticket_attach(ox_room *room, ox_ticket *ticket, ox_mailbox *mailbox) noexcept nogil:
    cdef bint fits
    ox_parking_lock(&room.parking)
    if ticket.mailbox == NULL:
        ticket.mailbox = mailbox_ref(mailbox)
    fits = ticket.mailbox == mailbox
    ox_parking_unlock(&room.parking)
    return fits


cdef bint ticket_has_news(ox_ticket *ticket) noexcept nogil:
    return ox_load_acquire_i32(&ticket.woken) != 0


cdef void ticket_clear(ox_ticket *ticket) noexcept nogil:
    ox_store_seq_cst_i32(&ticket.woken, 0)


cdef void ticket_wait(ox_ticket *ticket, int64_t timeout_ns) noexcept nogil:
    # A waker sets `woken` before it takes the lock, so it cannot come between the look and the wait.
    ox_parking_lock(&ticket.parking)
    if ox_load_seq_cst_i32(&ticket.woken) == 0:
        ox_parking_wait(&ticket.parking, timeout_ns)
    ox_parking_unlock(&ticket.parking)


cdef void ticket_wake(ox_room *room, ox_ticket *ticket) noexcept nogil:
    ox_parking_lock(&room.parking)
    wake(ticket)
    ox_parking_unlock(&room.parking)
