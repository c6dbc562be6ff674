"""Which snapshot is free, reserved or kept; the contract stands in the .pxd."""

from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free, malloc


cdef ox_snapshots *snapshots_create(int32_t n, int32_t n_blocks, int32_t n_tokens) noexcept nogil:
    cdef ox_snapshots *s = <ox_snapshots *> calloc(1, sizeof(ox_snapshots))
    cdef int32_t i
    if s == NULL:
        return NULL
    s.all = <ox_snapshot *> calloc(n, sizeof(ox_snapshot))
    s.reserved = <int32_t *> malloc(n * sizeof(int32_t))
    s.of_block = <int32_t *> malloc(n_blocks * sizeof(int32_t))
    if s.all == NULL or s.reserved == NULL or s.of_block == NULL:
        snapshots_destroy(s)
        return NULL
    s.n = n
    s.n_tokens = n_tokens
    s.free_head = s.oldest = s.newest = -1
    for i in range(n):
        s.all[n - 1 - i].block = -1
        push_free(s, n - 1 - i)
    for i in range(n_blocks):
        s.of_block[i] = -1
    return s


cdef void snapshots_destroy(ox_snapshots *s) noexcept nogil:
    if s == NULL:
        return
    free(s.all)
    free(s.reserved)
    free(s.of_block)
    free(s)


cdef int32_t snapshots_reserve(ox_snapshots *s) noexcept nogil:
    cdef int32_t snapshot = s.free_head
    if snapshot >= 0:
        s.free_head = s.all[snapshot].next
    else:
        snapshot = s.oldest
        while snapshot >= 0 and s.all[snapshot].num_readers > 0:
            snapshot = s.all[snapshot].next
        if snapshot < 0:
            return -1
        leave(s, snapshot)
    s.all[snapshot].is_reserved = 1
    s.reserved[s.n_reserved] = snapshot
    s.n_reserved += 1
    return snapshot


cdef bint snapshots_keep(ox_snapshots *s, int32_t snapshot, int32_t block) noexcept nogil:
    if s.of_block[block] >= 0:
        use(s, s.of_block[block])
        return False
    cdef int32_t i
    for i in range(s.n_reserved):
        if s.reserved[i] == snapshot:
            s.n_reserved -= 1
            s.reserved[i] = s.reserved[s.n_reserved]
            break
    s.all[snapshot].is_reserved = 0
    s.all[snapshot].block = block
    s.of_block[block] = snapshot
    enter(s, snapshot)
    return True


cdef void snapshots_cancel(ox_snapshots *s) noexcept nogil:
    while s.n_reserved > 0:
        s.n_reserved -= 1
        s.all[s.reserved[s.n_reserved]].is_reserved = 0
        push_free(s, s.reserved[s.n_reserved])


cdef void snapshots_forget(ox_snapshots *s, int32_t block) noexcept nogil:
    cdef int32_t snapshot = s.of_block[block]
    if snapshot < 0:
        return
    leave(s, snapshot)
    if s.all[snapshot].num_readers == 0:
        push_free(s, snapshot)


cdef void snapshots_retain(ox_snapshots *s, int32_t snapshot) noexcept nogil:
    s.all[snapshot].num_readers += 1
    use(s, snapshot)


cdef void snapshots_release(ox_snapshots *s, int32_t snapshot) noexcept nogil:
    s.all[snapshot].num_readers -= 1
    # Nobody else knows it when its block has been forgotten meanwhile.
    if s.all[snapshot].num_readers == 0 and s.all[snapshot].block < 0:
        push_free(s, snapshot)


cdef void push_free(ox_snapshots *s, int32_t snapshot) noexcept nogil:
    s.all[snapshot].next = s.free_head
    s.free_head = snapshot


cdef void use(ox_snapshots *s, int32_t snapshot) noexcept nogil:
    cdef int32_t block = s.all[snapshot].block
    if block >= 0:
        leave(s, snapshot)
        s.all[snapshot].block = block
        s.of_block[block] = snapshot
        enter(s, snapshot)


cdef void enter(ox_snapshots *s, int32_t snapshot) noexcept nogil:
    s.all[snapshot].previous = s.newest
    s.all[snapshot].next = -1
    if s.newest >= 0:
        s.all[s.newest].next = snapshot
    else:
        s.oldest = snapshot
    s.newest = snapshot
    s.num_kept += 1


cdef void leave(ox_snapshots *s, int32_t snapshot) noexcept nogil:
    cdef ox_snapshot *own = &s.all[snapshot]
    if own.previous >= 0:
        s.all[own.previous].next = own.next
    else:
        s.oldest = own.next
    if own.next >= 0:
        s.all[own.next].previous = own.previous
    else:
        s.newest = own.previous
    s.of_block[own.block] = -1
    own.block = -1
    s.num_kept -= 1
