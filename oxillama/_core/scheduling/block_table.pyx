"""What a request does with the block pool; the contract stands in the .pxd."""

from libc.stdint cimport int32_t
from libc.string cimport memcmp

from oxillama._core.scheduling.kv_blocks cimport (
    OX_KV_BLOCK,
    kv_pool_find,
    kv_pool_register,
    kv_pool_release,
    kv_pool_retain,
)
from oxillama._core.request cimport num_known, num_pending, request_wants_rows
from oxillama._core.scheduling.sequence_states cimport state_next_boundary, state_restore


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
    cdef int32_t block, n = request.n_blocks, n_whole = request.n_blocks
    if not request.uses_prefix or not is_at_boundary(request):
        return 0
    while can_reuse(request, (n + 1) * OX_KV_BLOCK):
        block = kv_pool_find(pool, last_block(request, n), request.tokens + n * OX_KV_BLOCK, &request.domain)
        if block < 0:
            break
        request.blocks[n] = block
        n += 1
        if pool.snapshots == NULL or pool.snapshots.of_block[block] >= 0:
            n_whole = n
    request.parting = max(request.parting, n * OX_KV_BLOCK)
    return n_whole - request.n_blocks


cdef void table_attach(ox_kv_pool *pool, ox_request *request, int32_t n_matched) noexcept nogil:
    if n_matched > 0 and pool.snapshots != NULL:
        state_restore(pool, request, pool.snapshots.of_block[request.blocks[request.n_blocks + n_matched - 1]])
    cdef int32_t _
    for _ in range(n_matched):
        kv_pool_retain(pool, request.blocks[request.n_blocks])
        request.n_blocks += 1
    request.num_computed_tokens += n_matched * OX_KV_BLOCK


cdef void table_register(ox_kv_pool *pool, ox_request *request, int32_t first) noexcept nogil:
    cdef int32_t i
    if not request.uses_prefix:
        return
    for i in range(first, request.num_computed_tokens // OX_KV_BLOCK):
        request.blocks[i] = kv_pool_register(pool, request.blocks[i], last_block(request, i),
                                             request.tokens + i * OX_KV_BLOCK, &request.domain)


cdef void table_release(ox_kv_pool *pool, ox_request *request) noexcept nogil:
    while request.n_blocks > 0:
        request.n_blocks -= 1
        kv_pool_release(pool, request.blocks[request.n_blocks])


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
