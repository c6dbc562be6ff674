"""Which block of the windowed stores is free, read, or kept for prefix hits; the contract stands in the .pxd."""

from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free, malloc


cdef ox_window_pool *window_pool_create(int32_t n, int32_t n_blocks, int32_t window) noexcept nogil:
    cdef ox_window_pool *w = <ox_window_pool *> calloc(1, sizeof(ox_window_pool))
    cdef int32_t i
    if w == NULL:
        return NULL
    w.all = <ox_window_block *> calloc(n, sizeof(ox_window_block))
    w.of_block = <int32_t *> malloc(n_blocks * sizeof(int32_t))
    if w.all == NULL or w.of_block == NULL:
        window_pool_destroy(w)
        return NULL
    for i in range(n):
        w.all[i].block = -1
    for i in range(n_blocks):
        w.of_block[i] = -1
    w.n = w.num_free = w.num_kept = n
    w.window = window
    w.free_head = -1
    for i in range(2):
        w.oldest[i] = w.newest[i] = -1
    return w


cdef void window_pool_destroy(ox_window_pool *w) noexcept nogil:
    if w == NULL:
        return
    free(w.all)
    free(w.of_block)
    free(w)


cdef int32_t window_first(const ox_window_pool *w, int32_t n_computed) noexcept nogil:
    cdef int32_t boundary = n_computed // OX_KV_BLOCK * OX_KV_BLOCK
    return (boundary - w.window + 1) // OX_KV_BLOCK if boundary >= w.window else 0


cdef int32_t window_span(const ox_window_pool *w) noexcept nogil:
    # From the block of the first key to that of the next token, and one that drafts reach into.
    return (w.window - 1) // OX_KV_BLOCK + 3


cdef int32_t window_num_available(const ox_window_pool *w) noexcept nogil:
    return w.num_free + w.num_cached


cdef bint window_take(ox_window_pool *w, int32_t block) noexcept nogil:
    cdef int32_t place = w.free_head
    if place >= 0:
        w.free_head = w.all[place].next
    elif w.num_grown < w.n and w.num_cached <= w.num_kept:
        place = w.num_grown
        w.num_grown += 1
        if w.grow != NULL:
            w.grow(w.grow_context, w.num_grown)
    else:
        place = w.oldest[0] if w.oldest[0] >= 0 else w.oldest[1]
        if place < 0:
            return False
        unlist(w, place)
        w.of_block[w.all[place].block] = -1
        w.num_free += 1
    w.num_free -= 1
    w.num_read += 1
    w.all[place].block = block
    w.all[place].num_readers = 1
    w.of_block[block] = place
    return True


cdef void window_retain(ox_window_pool *w, int32_t block) noexcept nogil:
    cdef int32_t place = w.of_block[block]
    if w.all[place].num_readers == 0:
        unlist(w, place)
        w.num_read += 1
    w.all[place].num_readers += 1


cdef void window_release(ox_window_pool *w, int32_t block, bint is_indexed, bint is_warm) noexcept nogil:
    cdef int32_t place = w.of_block[block]
    w.all[place].num_readers -= 1
    if w.all[place].num_readers > 0:
        return
    w.num_read -= 1
    if is_indexed:
        enlist(w, place, is_warm)
    else:
        set_free(w, place)


cdef void window_forget(ox_window_pool *w, int32_t block) noexcept nogil:
    cdef int32_t place = w.of_block[block]
    if place >= 0 and w.all[place].num_readers == 0:
        unlist(w, place)
        set_free(w, place)


cdef bint window_exchange(ox_window_pool *w, int32_t block, int32_t known) noexcept nogil:
    cdef int32_t place = w.of_block[block]
    if place < 0:
        return True
    if w.of_block[known] >= 0:
        window_retain(w, known)
        window_release(w, block, False, False)
        return True
    if w.all[place].num_readers > 1:
        return False
    # Equal tokens have equal bits, so what was computed again takes the place of what was given back.
    w.of_block[block] = -1
    w.of_block[known] = place
    w.all[place].block = known
    return True


cdef void set_free(ox_window_pool *w, int32_t place) noexcept nogil:
    w.of_block[w.all[place].block] = -1
    w.all[place].block = -1
    w.all[place].next = w.free_head
    w.free_head = place
    w.num_free += 1


cdef void enlist(ox_window_pool *w, int32_t place, bint is_warm) noexcept nogil:
    cdef int32_t newest = w.newest[is_warm]
    w.all[place].is_warm = is_warm
    w.all[place].previous = newest
    w.all[place].next = -1
    if newest >= 0:
        w.all[newest].next = place
    else:
        w.oldest[is_warm] = place
    w.newest[is_warm] = place
    w.num_cached += 1


cdef void unlist(ox_window_pool *w, int32_t place) noexcept nogil:
    cdef ox_window_block *own = &w.all[place]
    if own.previous >= 0:
        w.all[own.previous].next = own.next
    else:
        w.oldest[own.is_warm] = own.next
    if own.next >= 0:
        w.all[own.next].previous = own.previous
    else:
        w.newest[own.is_warm] = own.previous
    w.num_cached -= 1
