"""What a request does with the block pool; the contract stands in the .pxd."""

from libc.stdint cimport int32_t
from libc.string cimport memcmp

from oxillama._core.scheduling.kv_blocks cimport (
    OX_KV_BLOCK,
    kv_pool_find,
    kv_pool_num_available,
    kv_pool_register,
    kv_pool_release,
    kv_pool_retain,
    kv_pool_take,
)
from oxillama._core.request cimport num_known, num_pending, request_wants_rows
from oxillama._core.scheduling.sequence_states cimport last_useful, state_next_boundary, state_restore
from oxillama._core.scheduling.window_pool cimport (
    window_first,
    window_num_available,
    window_release,
    window_retain,
    window_span,
    window_take,
)


cdef int32_t blocks_for(int32_t n_tokens) noexcept nogil:
    return n_tokens // OX_KV_BLOCK + (1 if n_tokens % OX_KV_BLOCK else 0)


cdef int32_t last_block(const ox_request *request, int32_t n_blocks) noexcept nogil:
    return request.blocks[n_blocks - 1] if n_blocks > 0 else -1


cdef bint is_at_boundary(const ox_request *request) noexcept nogil:
    # False also when a plan that was never applied left blocks behind the computed ones.
    return request.n_blocks * OX_KV_BLOCK == request.num_computed_tokens


cdef bint can_reuse(const ox_request *request, int32_t end) noexcept nogil:
    # The index has K and V, but no logits. One token is left to compute in any case.
    return end < num_known(request) and (end <= request.first_scored or not request_wants_rows(request))


cdef int32_t table_match(const ox_kv_pool *pool, ox_request *request) noexcept nogil:
    cdef int32_t block, n = request.n_blocks, n_whole = request.n_blocks, missing = -1
    if not request.uses_prefix or not is_at_boundary(request):
        return 0
    while can_reuse(request, (n + 1) * OX_KV_BLOCK):
        block = kv_pool_find(pool, last_block(request, n), request.tokens + n * OX_KV_BLOCK, &request.domain)
        if block < 0:
            break
        request.blocks[n] = block
        if pool.windows != NULL and pool.windows.of_block[block] < 0:
            missing = n
        n += 1
        if pool.snapshots != NULL and pool.snapshots.of_block[block] < 0:
            continue
        if pool.windows == NULL or missing < window_first(pool.windows, n * OX_KV_BLOCK):
            n_whole = n
    request.parting = max(request.parting, n * OX_KV_BLOCK)
    return n_whole - request.n_blocks


cdef void table_attach(ox_kv_pool *pool, ox_request *request, int32_t n_matched) noexcept nogil:
    if n_matched > 0 and pool.snapshots != NULL:
        state_restore(pool, request, pool.snapshots.of_block[request.blocks[request.n_blocks + n_matched - 1]])
    cdef int32_t _, i, n_had = request.n_blocks
    for _ in range(n_matched):
        kv_pool_retain(pool, request.blocks[request.n_blocks])
        request.n_blocks += 1
    request.num_computed_tokens += n_matched * OX_KV_BLOCK
    if pool.windows == NULL or n_matched == 0:
        return
    # Of what was found only the end is seen: the rest was perhaps given back.
    for i in range(max(n_had, window_first(pool.windows, request.num_computed_tokens)), request.n_blocks):
        window_retain(pool.windows, request.blocks[i])
    leave(pool, request, n_had)


cdef bint table_extend(ox_kv_pool *pool, ox_request *request) noexcept nogil:
    cdef int32_t block
    if pool.windows != NULL and window_num_available(pool.windows) == 0:
        return False
    block = kv_pool_take(pool)
    if block < 0:
        return False
    if pool.windows != NULL:
        window_take(pool.windows, block)
    request.blocks[request.n_blocks] = block
    request.n_blocks += 1
    return True


cdef int32_t table_num_available(const ox_kv_pool *pool) noexcept nogil:
    cdef int32_t n = kv_pool_num_available(pool)
    return n if pool.windows == NULL else min(n, window_num_available(pool.windows))


cdef int32_t table_window_need(const ox_kv_pool *pool, const ox_request *request) noexcept nogil:
    return min(blocks_for(num_known(request)) + 1, window_span(pool.windows))


cdef bint is_warm(const ox_kv_pool *pool, const ox_request *request, int32_t index) noexcept nogil:
    # Does a prompt that goes on where this one ends, or where it parted from others, need the block?
    cdef int32_t end = last_useful(request.n_prompt)
    return (window_first(pool.windows, end) <= index < end // OX_KV_BLOCK
            or window_first(pool.windows, request.parting) <= index < request.parting // OX_KV_BLOCK)


cdef void leave(ox_kv_pool *pool, ox_request *request, int32_t n_held) noexcept nogil:
    # What it leaves of the first n_held blocks; of the others it holds only what it sees.
    cdef int32_t first = window_first(pool.windows, request.num_computed_tokens)
    cdef int32_t i, block
    for i in range(request.n_left, min(first, n_held)):
        block = request.blocks[i]
        window_release(pool.windows, block, pool.blocks[block].indexed, is_warm(pool, request, i))
    request.n_left = max(request.n_left, first)


cdef void table_leave(ox_kv_pool *pool, ox_request *request) noexcept nogil:
    if pool.windows != NULL:
        leave(pool, request, request.n_blocks)


cdef const int32_t *table_windows(const ox_kv_pool *pool, ox_request *request) noexcept nogil:
    cdef int32_t i
    if pool.windows == NULL:
        return request.blocks
    for i in range(request.n_left, request.n_blocks):
        request.window_blocks[i] = pool.windows.of_block[request.blocks[i]]
    return request.window_blocks


cdef void table_register(ox_kv_pool *pool, ox_request *request, int32_t first) noexcept nogil:
    cdef int32_t i
    if not request.uses_prefix:
        return
    for i in range(first, request.num_computed_tokens // OX_KV_BLOCK):
        request.blocks[i] = kv_pool_register(pool, request.blocks[i], last_block(request, i),
                                             request.tokens + i * OX_KV_BLOCK, &request.domain)


cdef void table_release(ox_kv_pool *pool, ox_request *request) noexcept nogil:
    cdef int32_t block
    while request.n_blocks > 0:
        request.n_blocks -= 1
        block = request.blocks[request.n_blocks]
        if pool.windows != NULL and request.n_blocks >= request.n_left:
            window_release(pool.windows, block, pool.blocks[block].indexed, True)
        kv_pool_release(pool, block)
    request.n_left = 0


cdef int32_t end_of_lead(const ox_kv_pool *pool, const ox_request *leader) noexcept nogil:
    # As far as the leader must get before others can go on from there; -1: it does not get there.
    cdef int32_t first = leader.num_computed_tokens
    if pool.snapshots != NULL:
        return state_next_boundary(pool, leader, first, num_known(leader))
    return first + OX_KV_BLOCK if num_pending(leader) >= OX_KV_BLOCK else -1


cdef bint table_leads(const ox_kv_pool *pool, const ox_request *leader, const ox_request *follower) noexcept nogil:
    cdef int32_t first = follower.num_computed_tokens, end
    if not leader.uses_prefix or not follower.uses_prefix:
        return False
    # Where there are states, the follower waits for the next snapshot, several steps perhaps.
    if leader.num_computed_tokens < first or (pool.snapshots == NULL and leader.num_computed_tokens != first):
        return False
    end = end_of_lead(pool, leader)
    if not is_at_boundary(follower) or end < 0 or not can_reuse(follower, end):
        return False
    if leader.domain.adapter_set != follower.domain.adapter_set:
        return False
    if leader.domain.salt[0] != follower.domain.salt[0] or leader.domain.salt[1] != follower.domain.salt[1]:
        return False
    if last_block(leader, follower.n_blocks) != last_block(follower, follower.n_blocks):
        return False
    return memcmp(leader.tokens + first, follower.tokens + first, (end - first) * sizeof(int32_t)) == 0
