"""The room of the queue: how many requests are in it, and who waits to come in, in order."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.atomics cimport ox_atomic_i32
from oxillama._core.scheduling.mailbox cimport ox_mailbox
from oxillama._core.parking cimport ox_parking

# A place in the line.
ctypedef struct ox_ticket:
    ox_ticket *next
    ox_ticket *previous
    int32_t wanted
    bint is_listed
    ox_atomic_i32 granted     # `wanted` places are counted in for it
    ox_atomic_i32 woken       # granted, or there is another reason to look up
    ox_mailbox *mailbox       # posted when woken, or NULL
    ox_parking parking        # where the owner sleeps

ctypedef struct ox_room:
    int32_t size
    ox_atomic_i32 num_taken
    ox_atomic_i32 num_waiting
    ox_ticket *first          # the line, guarded by the lock of `parking`
    ox_ticket *last
    ox_parking parking

# 0, or an errno value.
cdef int room_init(ox_room *room, int32_t size) noexcept nogil
cdef void room_destroy(ox_room *room) noexcept nogil
# Any thread. Counts n in, all or none; none while somebody waits, who would otherwise be overtaken for ever.
cdef bint room_take(ox_room *room, int32_t n) noexcept nogil
# Any thread. Counts n out; the first of the line may come in.
cdef void room_give_back(ox_room *room, int32_t n) noexcept nogil
# Any thread. Whoever waits is to look at the engine's state.
cdef void room_wake_all(ox_room *room) noexcept nogil

# 0, or an errno value. n: between 1 and the size of the room.
cdef int ticket_join(ox_room *room, ox_ticket *ticket, int32_t n) noexcept nogil
# Leaves the line and gives back what was granted, unless ticket_use() took it over. May be called again, and by any
# thread that keeps the ticket alive.
cdef void ticket_leave(ox_room *room, ox_ticket *ticket) noexcept nogil
# Leaves, and frees what the ticket holds.
cdef void ticket_destroy(ox_room *room, ox_ticket *ticket) noexcept nogil
# True once for a granted ticket: its places are the caller's.
cdef bint ticket_use(ox_ticket *ticket) noexcept nogil
# Posts the mailbox too. Look for news afterwards. False if another one is attached.
cdef bint ticket_attach(ox_room *room, ox_ticket *ticket, ox_mailbox *mailbox) noexcept nogil
cdef bint ticket_has_news(ox_ticket *ticket) noexcept nogil
# Forgets the news; call before looking at what they may be about.
cdef void ticket_clear(ox_ticket *ticket) noexcept nogil
# Sleeps until there are news or timeout_ns passed.
cdef void ticket_wait(ox_ticket *ticket, int64_t timeout_ns) noexcept nogil
# Any thread that keeps the ticket alive: news for its owner.
cdef void ticket_wake(ox_room *room, ox_ticket *ticket) noexcept nogil
