"""How the members of a team divide items whose number is known: most of them beforehand, the rest first come, first
served."""

from libc.stdint cimport int32_t

from oxillama._core.network.executor cimport ox_member

cdef extern from "<stdatomic.h>" nogil:
    int32_t __atomic_fetch_add(int32_t *target, int32_t value, int order) noexcept
    int __ATOMIC_RELAXED

# What one thread takes of `total` items: first a range of its own, in order, then single items of the shared tail.
ctypedef struct ox_share:
    int32_t next, last, tail, total

# One part in `shared` of the items is the tail.
cdef inline ox_share share_of(int32_t total, int32_t shared, const ox_member *member) noexcept nogil:
    cdef ox_share share
    share.total = total
    share.tail = total - total // shared if member.size > 1 else total
    share.next = <int32_t>(<long long>share.tail * member.index // member.size)
    share.last = <int32_t>(<long long>share.tail * (member.index + 1) // member.size)
    return share

# The next item, or -1. `counter` is the operation's.
cdef inline int32_t share_take(ox_share *share, int32_t *counter) noexcept nogil:
    cdef int32_t item
    if share.next < share.last:
        share.next += 1
        return share.next - 1
    if share.tail == share.total:
        return -1
    item = share.tail + __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED)
    return item if item < share.total else -1
