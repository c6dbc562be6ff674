"""Which boundaries deserve a snapshot, and what becomes of those that were made; the contract stands in the .pxd."""

from libc.stdint cimport int32_t

from oxillama._core.scheduling.kv_blocks cimport OX_KV_BLOCK
from oxillama._core.scheduling.snapshots cimport (
    OX_MAX_MARKS,
    snapshots_cancel,
    snapshots_forget,
    snapshots_keep,
    snapshots_release,
    snapshots_reserve,
    snapshots_retain,
)


cdef int32_t last_useful(int32_t n_tokens) noexcept nogil:
    return (n_tokens - 1) // OX_KV_BLOCK * OX_KV_BLOCK


cdef bint is_regular(const ox_kv_pool *pool, const ox_request *request, int32_t boundary) noexcept nogil:
    return (boundary % pool.snapshots.n_tokens == 0 or boundary == request.parting
            or boundary == last_useful(request.n_prompt))


cdef int32_t state_next_boundary(const ox_kv_pool *pool, const ox_request *request, int32_t first,
                                 int32_t end) noexcept nogil:
    cdef int32_t boundary = (first // OX_KV_BLOCK + 1) * OX_KV_BLOCK
    if pool.snapshots == NULL or not request.uses_prefix:
        return -1
    while boundary <= end:
        # Nobody knows where an output ends, so each boundary may be the last.
        if is_regular(pool, request, boundary) or (boundary >= request.n_prompt and boundary + OX_KV_BLOCK > end):
            return boundary
        boundary += OX_KV_BLOCK
    return -1


cdef void states_plan(ox_kv_pool *pool, ox_plan *plan) noexcept nogil:
    cdef int32_t i
    if pool.snapshots == NULL:
        return
    for i in range(plan.n_items):
        plan.items[i].restored = plan.items[i].request.restored
        mark(pool, &plan.items[i])


cdef void mark(ox_kv_pool *pool, ox_plan_item *item) noexcept nogil:
    cdef int32_t boundaries[OX_MAX_MARKS]
    cdef int32_t end = item.first_position + item.n_tokens, i, n = 0, snapshot
    cdef int32_t boundary = state_next_boundary(pool, item.request, item.first_position, end)
    while boundary >= 0:
        # The last ones, if there are too many: they save the most.
        if n == OX_MAX_MARKS:
            for i in range(n - 1):
                boundaries[i] = boundaries[i + 1]
            n -= 1
        boundaries[n] = boundary
        n += 1
        boundary = state_next_boundary(pool, item.request, boundary, end)
    for i in range(n):
        snapshot = snapshots_reserve(pool.snapshots)
        if snapshot < 0:
            return
        item.marks[item.n_marks].n_tokens = boundaries[i] - item.first_position
        item.marks[item.n_marks].snapshot = snapshot
        item.n_marks += 1


cdef void states_forget_plan(ox_kv_pool *pool) noexcept nogil:
    if pool.snapshots != NULL:
        snapshots_cancel(pool.snapshots)


cdef void states_commit(ox_kv_pool *pool, const ox_plan_item *item) noexcept nogil:
    cdef ox_request *request = item.request
    cdef int32_t i, boundary, block
    if pool.snapshots == NULL:
        return
    state_restore(pool, request, -1)
    for i in range(item.n_marks):
        boundary = item.first_position + item.marks[i].n_tokens
        block = request.blocks[boundary // OX_KV_BLOCK - 1]
        if boundary > request.num_computed_tokens or not pool.blocks[block].indexed:
            continue
        if not snapshots_keep(pool.snapshots, item.marks[i].snapshot, block):
            continue
        if boundary >= request.n_prompt:
            roll(pool, request, block, is_regular(pool, request, boundary))


cdef void roll(ox_kv_pool *pool, ox_request *request, int32_t block, bint is_kept) noexcept nogil:
    # The snapshot of the block takes the place of the output's last one. Its own table holds both blocks, so their
    # numbers still mean the same.
    cdef int32_t last = request.rolling_block
    request.rolling_block = -1 if is_kept else block
    if last >= 0 and pool.snapshots.of_block[last] >= 0:
        snapshots_forget(pool.snapshots, last)


cdef void state_restore(ox_kv_pool *pool, ox_request *request, int32_t snapshot) noexcept nogil:
    if pool.snapshots == NULL:
        return
    if request.restored >= 0:
        snapshots_release(pool.snapshots, request.restored)
    request.restored = snapshot
    if snapshot >= 0:
        snapshots_retain(pool.snapshots, snapshot)
