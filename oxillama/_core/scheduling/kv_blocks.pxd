"""The KV block pool: which block belongs to whom, and which cached block begins a new prompt.

Knows block numbers and token ids; the memory of the blocks is the KV cache's, told when a block is given out for the
first time. One thread uses a pool at a time.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t

from oxillama._core.scheduling.snapshots cimport ox_snapshots
from oxillama._core.scheduling.window_pool cimport ox_window_pool

cdef extern from "kernels.h":
    enum:
        OX_KV_BLOCK  # tokens per block

# Cached blocks are shared only inside one domain.
ctypedef struct ox_prefix_domain:
    uint64_t adapter_set   # identity of the adapters and their scales, 0: none
    uint64_t salt[2]       # keeps tenants from seeing each other's cache; 0, 0: the common one

# A block is free, referenced (num_references > 0), or cached (unreferenced but in the index): exactly one of them.
# In the index it is known by (parent block at that generation, tokens, domain). The generation changes whenever a block
# leaves the index, so a child of a reused parent can never be found again.
ctypedef struct ox_kv_block:
    int32_t num_references  # tables that hold the block
    int32_t indexed
    int32_t previous        # list of cached blocks, oldest first; -1: none
    int32_t next            # same list, or the free list
    int32_t chain           # next block of the same hash bucket, or -1
    int32_t parent          # block of the 32 tokens before, or -1
    uint64_t parent_generation
    uint64_t generation
    uint64_t hash
    ox_prefix_domain domain

ctypedef struct ox_kv_pool_stats:
    int32_t n_blocks
    int32_t num_grown       # blocks that have been given out, ever: the numbers below this one
    int32_t num_free        # those not grown yet included
    int32_t num_cached
    int32_t num_referenced
    int64_t num_evictions

# The first n_blocks blocks will be written from now on. Called between two steps, by the pool's thread.
ctypedef void (*ox_kv_grow)(void *context, int32_t n_blocks) noexcept nogil

ctypedef struct ox_kv_pool:
    ox_kv_block *blocks     # [n_blocks]
    int32_t *tokens         # [n_blocks][OX_KV_BLOCK], valid for indexed blocks
    int32_t *buckets        # [bucket_mask + 1], first block of the chain or -1
    uint64_t bucket_mask
    uint64_t hash_mask      # applied to every hash; less than all ones only to force collisions in tests
    int32_t num_kept        # as long as no more blocks are cached, the pool rather grows than evicts
    ox_kv_grow grow         # or NULL
    void *grow_context
    ox_snapshots *snapshots  # the owner's, of a network with recurrent state; else NULL
    ox_window_pool *windows  # the owner's, of a network with windowed stores that give blocks back; else NULL
    int32_t free_head       # of the grown ones
    int32_t oldest          # cached blocks, by the time of their release
    int32_t newest
    ox_kv_pool_stats stats

# NULL when n_blocks < 1 or memory is short. Keeps all it can; the owner sets num_kept and grow.
cdef ox_kv_pool *kv_pool_create(int32_t n_blocks, uint64_t hash_mask) noexcept nogil
cdef void kv_pool_destroy(ox_kv_pool *pool) noexcept nogil

# Blocks that kv_pool_take() can still give: free or cached.
cdef int32_t kv_pool_num_available(const ox_kv_pool *pool) noexcept nogil
# A block for new content with one reference: a free one that has grown, else a new one or the oldest cached one, by
# num_kept. -1: all are referenced.
cdef int32_t kv_pool_take(ox_kv_pool *pool) noexcept nogil
cdef void kv_pool_retain(ox_kv_pool *pool, int32_t block) noexcept nogil
# Release a table's blocks from the last to the first, so that children are evicted before their parents.
cdef void kv_pool_release(ox_kv_pool *pool, int32_t block) noexcept nogil

# The indexed block that follows `parent` (referenced by the caller, or -1) with these OX_KV_BLOCK tokens, or -1.
# Takes no reference.
cdef int32_t kv_pool_find(const ox_kv_pool *pool, int32_t parent, const int32_t *tokens,
                          const ox_prefix_domain *domain) noexcept nogil
# Puts a referenced, completely computed block into the index. Returns the block the caller holds from now on: the same
# one, or an equal one that was there already (the reference has then moved; equal tokens have equal bits).
cdef int32_t kv_pool_register(ox_kv_pool *pool, int32_t block, int32_t parent, const int32_t *tokens,
                              const ox_prefix_domain *domain) noexcept nogil
# Frees the cached blocks of one set of adapters; none of them is referenced.
cdef void kv_pool_forget_set(ox_kv_pool *pool, uint64_t adapter_set) noexcept nogil
# Empties the index: cached blocks become free, referenced ones unknown.
cdef void kv_pool_forget(ox_kv_pool *pool) noexcept nogil
