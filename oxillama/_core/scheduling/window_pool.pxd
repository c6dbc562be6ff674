"""The blocks of stores with a window: which block of the pool has its keys and values there, and who still reads them.

A block of the pool has one here or none; a sequence gives it back once no later token can see it. Those that nobody
reads stay for prefix hits as long as there is room. Knows numbers only. One thread uses a window pool at a time."""

from libc.stdint cimport int32_t

cdef extern from "kernels.h":
    enum:
        OX_KV_BLOCK  # tokens per block

ctypedef struct ox_window_block:
    int32_t block         # of the pool, whose tokens lie in it; -1: free
    int32_t num_readers   # sequences whose later tokens see it
    int32_t is_warm       # in which list it is once nobody reads it
    int32_t previous      # the one that was let go of before
    int32_t next          # the one after, or the next free one

# The first n_blocks will be written from now on.
ctypedef void (*ox_window_grow)(void *context, int32_t n_blocks) noexcept nogil

ctypedef struct ox_window_pool:
    int32_t n
    int32_t window         # a token sees keys nearer than this
    int32_t num_kept       # as long as no more are cached, the pool rather grows than evicts
    ox_window_grow grow    # or NULL
    void *grow_context
    ox_window_block *all   # [n]
    int32_t *of_block      # [blocks of the pool], -1: none
    int32_t free_head      # of those that have grown
    int32_t oldest[2]      # cold ones, which go first, and warm ones, at which prompts are likely to be continued
    int32_t newest[2]
    int32_t num_grown
    int32_t num_free       # those not grown yet included
    int32_t num_cached
    int32_t num_read

# NULL when memory is short. n, window: 1 or more.
cdef ox_window_pool *window_pool_create(int32_t n, int32_t n_blocks, int32_t window) noexcept nogil
cdef void window_pool_destroy(ox_window_pool *w) noexcept nogil

# The first block that a sequence with so many computed tokens needs; counted from the last boundary of blocks, where
# it may be continued.
cdef int32_t window_first(const ox_window_pool *w, int32_t n_computed) noexcept nogil
# Most blocks that such a sequence holds between two steps.
cdef int32_t window_span(const ox_window_pool *w) noexcept nogil
cdef int32_t window_num_available(const ox_window_pool *w) noexcept nogil

# Gives a new block of the pool its place here, with one reader. False: all are read.
cdef bint window_take(ox_window_pool *w, int32_t block) noexcept nogil
# One reader more of a block that has its place.
cdef void window_retain(ox_window_pool *w, int32_t block) noexcept nogil
# One reader less. Without any, what belongs to an indexed block is kept for hits, warm or cold; anything else is free.
cdef void window_release(ox_window_pool *w, int32_t block, bint is_indexed, bint is_warm) noexcept nogil
# The block leaves the index: what nobody reads is free.
cdef void window_forget(ox_window_pool *w, int32_t block) noexcept nogil
# A reader of `block` goes over to the equal block `known`. False: it cannot, as that has none and others read this one.
cdef bint window_exchange(ox_window_pool *w, int32_t block, int32_t known) noexcept nogil
