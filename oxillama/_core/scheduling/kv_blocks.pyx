"""Reference counts, the list of cached blocks, and the prefix index; the contract stands in the .pxd."""

from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from oxillama._core.scheduling.snapshots cimport snapshots_forget
from oxillama._core.scheduling.window_pool cimport window_exchange, window_forget


cdef ox_kv_pool *kv_pool_create(int32_t n_blocks, uint64_t hash_mask) noexcept nogil:
    if n_blocks < 1:
        return NULL
    cdef uint64_t n_buckets = 16
    while n_buckets < <uint64_t> n_blocks:
        n_buckets *= 2
    cdef ox_kv_pool *pool = <ox_kv_pool *> calloc(1, sizeof(ox_kv_pool))
    if pool == NULL:
        return NULL
    pool.blocks = <ox_kv_block *> calloc(n_blocks, sizeof(ox_kv_block))
    pool.tokens = <int32_t *> malloc(<size_t> n_blocks * OX_KV_BLOCK * sizeof(int32_t))
    pool.buckets = <int32_t *> malloc(n_buckets * sizeof(int32_t))
    if pool.blocks == NULL or pool.tokens == NULL or pool.buckets == NULL:
        kv_pool_destroy(pool)
        return NULL
    pool.bucket_mask = n_buckets - 1
    pool.hash_mask = hash_mask
    cdef uint64_t bucket
    for bucket in range(n_buckets):
        pool.buckets[bucket] = -1
    pool.num_kept = n_blocks
    pool.free_head = pool.oldest = pool.newest = -1
    pool.stats.n_blocks = pool.stats.num_free = n_blocks
    return pool


cdef void kv_pool_destroy(ox_kv_pool *pool) noexcept nogil:
    if pool == NULL:
        return
    free(pool.blocks)
    free(pool.tokens)
    free(pool.buckets)
    free(pool)


cdef int32_t kv_pool_num_available(const ox_kv_pool *pool) noexcept nogil:
    return pool.stats.num_free + pool.stats.num_cached


cdef int32_t kv_pool_take(ox_kv_pool *pool) noexcept nogil:
    cdef int32_t block = pool.oldest
    if pool.free_head >= 0:
        block = pool.free_head
        pool.free_head = pool.blocks[block].next
        pool.stats.num_free -= 1
    elif pool.stats.num_grown < pool.stats.n_blocks and pool.stats.num_cached <= pool.num_kept:
        block = pool.stats.num_grown
        pool.stats.num_grown += 1
        pool.stats.num_free -= 1
        if pool.grow != NULL:
            pool.grow(pool.grow_context, pool.stats.num_grown)
    elif block >= 0:
        unlist_cached(pool, block)
        unindex(pool, block)
        pool.stats.num_evictions += 1
    else:
        return -1
    pool.blocks[block].num_references = 1
    pool.stats.num_referenced += 1
    return block


cdef void kv_pool_retain(ox_kv_pool *pool, int32_t block) noexcept nogil:
    if pool.blocks[block].num_references == 0:
        unlist_cached(pool, block)
        pool.stats.num_referenced += 1
    pool.blocks[block].num_references += 1


cdef void kv_pool_release(ox_kv_pool *pool, int32_t block) noexcept nogil:
    cdef ox_kv_block *b = &pool.blocks[block]
    b.num_references -= 1
    if b.num_references > 0:
        return
    pool.stats.num_referenced -= 1
    if b.indexed:
        list_cached(pool, block)
    else:
        push_free(pool, block)


cdef int32_t kv_pool_find(const ox_kv_pool *pool, int32_t parent, const int32_t *tokens,
                          const ox_prefix_domain *domain) noexcept nogil:
    if parent >= 0 and not pool.blocks[parent].indexed:
        return -1
    return search(pool, hash_of(pool, parent, tokens, domain), parent, tokens, domain)


cdef int32_t kv_pool_register(ox_kv_pool *pool, int32_t block, int32_t parent, const int32_t *tokens,
                              const ox_prefix_domain *domain) noexcept nogil:
    cdef ox_kv_block *b = &pool.blocks[block]
    if b.indexed or (parent >= 0 and not pool.blocks[parent].indexed):
        return block
    cdef uint64_t hash = hash_of(pool, parent, tokens, domain)
    cdef int32_t known = search(pool, hash, parent, tokens, domain)
    if known >= 0:
        if pool.windows != NULL and not window_exchange(pool.windows, block, known):
            return block
        kv_pool_retain(pool, known)
        kv_pool_release(pool, block)
        return known
    b.indexed = 1
    b.hash = hash
    b.parent = parent
    b.parent_generation = generation_of(pool, parent)
    b.domain = domain[0]
    memcpy(&pool.tokens[<size_t> block * OX_KV_BLOCK], tokens, OX_KV_BLOCK * sizeof(int32_t))
    b.chain = pool.buckets[hash & pool.bucket_mask]
    pool.buckets[hash & pool.bucket_mask] = block
    return block


cdef void kv_pool_forget_set(ox_kv_pool *pool, uint64_t adapter_set) noexcept nogil:
    cdef int32_t block
    for block in range(pool.stats.num_grown):
        if pool.blocks[block].indexed and pool.blocks[block].domain.adapter_set == adapter_set:
            forget_block(pool, block)


cdef void kv_pool_forget(ox_kv_pool *pool) noexcept nogil:
    cdef int32_t block
    for block in range(pool.stats.num_grown):
        if pool.blocks[block].indexed:
            forget_block(pool, block)


cdef void forget_block(ox_kv_pool *pool, int32_t block) noexcept nogil:
    unindex(pool, block)
    if pool.blocks[block].num_references == 0:
        unlist_cached(pool, block)
        push_free(pool, block)


cdef uint64_t generation_of(const ox_kv_pool *pool, int32_t parent) noexcept nogil:
    return pool.blocks[parent].generation if parent >= 0 else 0


cdef uint64_t mix(uint64_t h, uint64_t value) noexcept nogil:
    # One round of a multiply-and-fold hash; the constant is 2^64 / golden ratio. Equality never rests on it.
    h = (h ^ value) * <uint64_t> 0x9E3779B97F4A7C15
    return h ^ (h >> 32)


cdef uint64_t hash_of(const ox_kv_pool *pool, int32_t parent, const int32_t *tokens,
                      const ox_prefix_domain *domain) noexcept nogil:
    cdef uint64_t h = mix(<uint64_t> (parent + 1), generation_of(pool, parent))
    h = mix(mix(mix(h, domain.adapter_set), domain.salt[0]), domain.salt[1])
    cdef int32_t i
    for i in range(OX_KV_BLOCK):
        h = mix(h, <uint64_t> tokens[i])
    return h & pool.hash_mask


cdef int32_t search(const ox_kv_pool *pool, uint64_t hash, int32_t parent, const int32_t *tokens,
                    const ox_prefix_domain *domain) noexcept nogil:
    cdef uint64_t parent_generation = generation_of(pool, parent)
    cdef int32_t block = pool.buckets[hash & pool.bucket_mask]
    cdef const ox_kv_block *b
    while block >= 0:
        b = &pool.blocks[block]
        if (
            b.hash == hash
            and b.parent == parent
            and b.parent_generation == parent_generation
            and b.domain.adapter_set == domain.adapter_set
            and b.domain.salt[0] == domain.salt[0]
            and b.domain.salt[1] == domain.salt[1]
            and memcmp(&pool.tokens[<size_t> block * OX_KV_BLOCK], tokens, OX_KV_BLOCK * sizeof(int32_t)) == 0
        ):
            return block
        block = b.chain
    return -1


cdef void unindex(ox_kv_pool *pool, int32_t block) noexcept nogil:
    cdef int32_t *link = &pool.buckets[pool.blocks[block].hash & pool.bucket_mask]
    while link[0] != block:
        link = &pool.blocks[link[0]].chain
    link[0] = pool.blocks[block].chain
    pool.blocks[block].indexed = 0
    pool.blocks[block].generation += 1
    if pool.snapshots != NULL:
        snapshots_forget(pool.snapshots, block)
    if pool.windows != NULL:
        window_forget(pool.windows, block)


cdef void push_free(ox_kv_pool *pool, int32_t block) noexcept nogil:
    pool.blocks[block].next = pool.free_head
    pool.free_head = block
    pool.stats.num_free += 1


cdef void list_cached(ox_kv_pool *pool, int32_t block) noexcept nogil:
    cdef ox_kv_block *b = &pool.blocks[block]
    b.previous = pool.newest
    b.next = -1
    if pool.newest >= 0:
        pool.blocks[pool.newest].next = block
    else:
        pool.oldest = block
    pool.newest = block
    pool.stats.num_cached += 1


cdef void unlist_cached(ox_kv_pool *pool, int32_t block) noexcept nogil:
    cdef ox_kv_block *b = &pool.blocks[block]
    if b.previous >= 0:
        pool.blocks[b.previous].next = b.next
    else:
        pool.oldest = b.next
    if b.next >= 0:
        pool.blocks[b.next].previous = b.previous
    else:
        pool.newest = b.previous
    pool.stats.num_cached -= 1
