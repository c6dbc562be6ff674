"""Admission, sharing of a step, preemption and the end of requests; the contract stands in the .pxd."""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, realloc

from oxillama._core.atomics cimport ox_fetch_add_relaxed_i64, ox_store_relaxed_i64
from oxillama._core.scheduling.block_table cimport (
    blocks_for,
    table_attach,
    table_extend,
    table_leads,
    table_leave,
    table_match,
    table_num_available,
    table_register,
    table_release,
    table_window_need,
)
from oxillama._core.scheduling.kv_blocks cimport OX_KV_BLOCK, kv_pool_num_available
from oxillama._core.scheduling.pace cimport pace_chunk_tokens, pace_observe
from oxillama._core.scheduling.plan cimport (
    item_commit,
    ox_plan_item,
    plan_clear,
    plan_num_tokens,
    plan_remove,
    plan_set,
)
from oxillama._core.scheduling.sequence_states cimport state_restore, states_commit, states_forget_plan, states_plan
from oxillama._core.network.ranking cimport rank, remove, sort
from oxillama._core.request cimport (
    OX_FINISH_CLOSED,
    OX_FINISH_ERROR,
    OX_FINISH_LENGTH,
    OX_FINISH_NONE,
    OX_FINISH_STOP,
    OX_STATE_FINISHED,
    OX_STATE_PREEMPTED,
    OX_STATE_RUNNING,
    OX_STATE_WAITING,
    num_known,
    num_pending,
    request_due_end,
    request_is_decoding,
    request_is_prompt_only,
    request_publish_finish,
    request_unref,
    request_wants_rows,
)
from oxillama._core.status cimport OX_INVALID, OX_NO_MEMORY, OX_OK, OX_TOO_LONG


cdef ox_status scheduler_create(ox_scheduler **out, const ox_scheduler_config *config, ox_kv_pool *pool) noexcept nogil:
    out[0] = NULL
    if config.max_batch_size < 1 or config.max_batch_tokens < 1 or config.n_ctx < 1 or config.priority_aging_ns < 0:
        return OX_INVALID
    if config.max_outputs <= config.max_batch_size:
        return OX_INVALID
    cdef ox_scheduler *s = <ox_scheduler *> calloc(1, sizeof(ox_scheduler))
    if s == NULL:
        return OX_NO_MEMORY
    s.config = config[0]
    # Every running sequence must be able to get its token in the same step.
    s.config.max_batch_size = min(config.max_batch_size, config.max_batch_tokens)
    s.pool = pool
    cdef int32_t n = s.config.max_batch_size
    s.running = <ox_request **> calloc(n, sizeof(ox_request *))
    s.prompts = <ox_request **> calloc(n, sizeof(ox_request *))
    s.free_slots = <int32_t *> calloc(n, sizeof(int32_t))
    s.plan.items = <ox_plan_item *> calloc(n, sizeof(ox_plan_item))
    if s.running == NULL or s.prompts == NULL or s.free_slots == NULL or s.plan.items == NULL:
        scheduler_destroy(s)
        return OX_NO_MEMORY
    cdef int32_t i
    for i in range(n):
        s.free_slots[i] = n - 1 - i
    s.n_free_slots = n
    publish(s)
    out[0] = s
    return OX_OK


cdef void scheduler_destroy(ox_scheduler *s) noexcept nogil:
    if s == NULL:
        return
    scheduler_finish_all(s, OX_FINISH_CLOSED, 0)
    free(s.running)
    free(s.prompts)
    free(s.waiting)
    free(s.free_slots)
    free(s.plan.items)
    free(s)


cdef ox_status scheduler_check(const ox_scheduler_config *config, int32_t n_blocks,
                               const ox_request *request) noexcept nogil:
    cdef int32_t n_room = 0 if request_is_prompt_only(request) else 1  # for the first token of the output
    if request.n_prompt > config.n_ctx - n_room or blocks_for(request.n_prompt) > n_blocks:
        return OX_TOO_LONG
    if request.whole and request.n_prompt > config.max_batch_tokens:
        return OX_TOO_LONG
    return OX_OK


cdef ox_status scheduler_add(ox_scheduler *s, ox_request *request, int64_t now_ns) noexcept nogil:
    cdef ox_status status = scheduler_check(&s.config, s.pool.stats.n_blocks, request)
    if status != OX_OK:
        return status
    cdef int32_t max_waiting = s.max_waiting
    cdef void *grown
    if s.n_waiting + 1 + s.config.max_batch_size > max_waiting:
        max_waiting = 2 * (s.n_waiting + 1 + s.config.max_batch_size)
        grown = realloc(s.waiting, max_waiting * sizeof(ox_request *))
        if grown == NULL:
            return OX_NO_MEMORY
        s.waiting = <ox_request **> grown
        s.max_waiting = max_waiting
    request.state = OX_STATE_WAITING
    request.sequence = s.num_added
    request.uses_prefix = s.config.prefix_cache and request.cache_prompt and not request_is_prompt_only(request)
    request.waiting_since_ns = min(request.arrival_ns, now_ns) if request.arrival_ns > 0 else now_ns
    s.num_added += 1
    ox_fetch_add_relaxed_i64(&s.stats.num_added, 1)
    s.waiting[s.n_waiting] = request
    s.n_waiting += 1
    ox_store_relaxed_i64(&s.stats.num_waiting, s.n_waiting)
    return OX_OK


cdef ox_plan *scheduler_schedule(ox_scheduler *s, int64_t now_ns) noexcept nogil:
    plan_clear(&s.plan)
    states_forget_plan(s.pool)
    end_overdue(s, s.running, s.n_running, now_ns)
    end_overdue(s, s.waiting, s.n_waiting, now_ns)
    rank(s.running, s.n_running, now_ns, s.config.priority_aging_ns)
    rank(s.waiting, s.n_waiting, now_ns, s.config.priority_aging_ns)
    plan_decodes(s)
    admit(s, now_ns)
    follow_prefixes(s)
    plan_decodes(s)  # whoever found everything but its last token in the cache
    plan_prompts(s)
    plan_drafts(s)
    states_plan(s.pool, &s.plan)
    publish(s)
    return &s.plan


cdef void scheduler_apply(ox_scheduler *s, const ox_step_result *results, int64_t now_ns) noexcept nogil:
    cdef int32_t i, n_items = s.plan.n_items
    s.plan.n_items = 0
    for i in range(n_items):
        commit(s, &s.plan.items[i], &results[i], now_ns)
    states_forget_plan(s.pool)
    ox_fetch_add_relaxed_i64(&s.stats.num_steps, 1)
    ox_fetch_add_relaxed_i64(&s.stats.num_prompt_tokens, s.plan.n_tokens - s.plan.n_decode - s.plan.n_drafts)
    publish(s)


cdef void scheduler_observe(ox_scheduler *s, int64_t step_ns, int32_t n_tokens, int32_t n_decode) noexcept nogil:
    pace_observe(&s.pace, step_ns, n_tokens, n_decode)


cdef void scheduler_finish_all(ox_scheduler *s, ox_finish_reason reason, int64_t now_ns) noexcept nogil:
    s.plan.n_items = 0
    while s.n_running > 0:
        finish(s, s.running[s.n_running - 1], reason, now_ns)
    while s.n_waiting > 0:
        finish(s, s.waiting[s.n_waiting - 1], reason, now_ns)
    publish(s)


cdef int32_t scheduler_num_alive(const ox_scheduler *s) noexcept nogil:
    return s.n_running + s.n_waiting


# From waiting to running and back, and the end.

cdef void end_overdue(ox_scheduler *s, ox_request **requests, int32_t n, int64_t now_ns) noexcept nogil:
    cdef int32_t i
    cdef ox_finish_reason reason
    for i in range(n - 1, -1, -1):
        reason = request_due_end(requests[i], now_ns)
        if reason != OX_FINISH_NONE:
            finish(s, requests[i], reason, now_ns)


cdef void finish(ox_scheduler *s, ox_request *request, ox_finish_reason reason, int64_t now_ns) noexcept nogil:
    if request.state == OX_STATE_RUNNING:
        stop_running(s, request)
    else:
        remove(s.waiting, &s.n_waiting, request)
        if request.state == OX_STATE_WAITING and s.on_start != NULL:
            s.on_start(s.start_context, request)
    request.state = OX_STATE_FINISHED
    request.end_ns = now_ns
    ox_fetch_add_relaxed_i64(&s.stats.num_finished, 1)
    if s.on_finish != NULL:
        s.on_finish(s.finish_context, request, reason)
    else:
        request_publish_finish(request, reason)
    request_unref(request)


cdef void stop_running(ox_scheduler *s, ox_request *request) noexcept nogil:
    remove(s.running, &s.n_running, request)
    s.free_slots[s.n_free_slots] = request.slot
    s.n_free_slots += 1
    request.slot = -1
    state_restore(s.pool, request, -1)
    request.rolling_block = -1
    table_release(s.pool, request)


cdef void preempt(ox_scheduler *s, ox_request *request) noexcept nogil:
    plan_remove(&s.plan, request)
    stop_running(s, request)
    request.state = OX_STATE_PREEMPTED
    request.served = 0
    request.num_computed_tokens = 0
    request.n_drafts = 0
    request.num_preemptions += 1
    s.waiting[s.n_waiting] = request
    s.n_waiting += 1
    sort(s.waiting, s.n_waiting)
    ox_fetch_add_relaxed_i64(&s.stats.num_preemptions, 1)


cdef void admit(ox_scheduler *s, int64_t now_ns) noexcept nogil:
    # In order, and nobody overtakes a request that waits for blocks: a large one would never get them together.
    cdef ox_request *request
    cdef ox_request *last
    cdef int32_t n_cached
    while s.n_waiting > 0:
        request = s.waiting[0]
        if s.n_running == s.config.max_batch_size:
            # Whoever holds a slot without having had a share of a step loses nothing by giving it back.
            last = s.running[s.n_running - 1]
            if last.level >= request.level or last.num_shares > 0:
                return
            preempt(s, last)
        n_cached = table_match(s.pool, request)
        if not has_room(s, request, n_cached):
            return
        remove(s.waiting, &s.n_waiting, request)
        s.n_free_slots -= 1
        request.slot = s.free_slots[s.n_free_slots]
        s.running[s.n_running] = request
        s.n_running += 1
        # Before it leaves the queue: a drain must find it in one place or the other.
        ox_store_relaxed_i64(&s.stats.num_running, s.n_running)
        if request.state == OX_STATE_WAITING:
            request.start_ns = now_ns
            ox_fetch_add_relaxed_i64(&s.stats.num_started, 1)
            ox_fetch_add_relaxed_i64(&s.stats.queue_ns, max(<int64_t> 0, now_ns - request.arrival_ns))
            if s.on_start != NULL:
                s.on_start(s.start_context, request)
        request.state = OX_STATE_RUNNING
        request.num_shares = 0
        sort(s.running, s.n_running)
        attach(s, request, n_cached)


cdef bint has_room(const ox_scheduler *s, const ox_request *request, int32_t n_cached) noexcept nogil:
    # Blocks for all it has to compute, beside those promised in the same way to the running ones, and one more for each
    # of them to grow into: otherwise it would soon be preempted again.
    cdef int32_t i
    cdef int32_t n_wanted = blocks_for(num_known(request)) - n_cached
    if s.n_running == 0:
        return True
    if s.pool.windows != NULL and not has_windows(s, request):
        return False
    for i in range(n_cached):
        if s.pool.blocks[request.blocks[i]].num_references == 0:
            n_wanted += 1
    for i in range(s.n_running):
        n_wanted += max(0, blocks_for(num_known(s.running[i])) - s.running[i].n_blocks) + 1
    return n_wanted <= kv_pool_num_available(s.pool)


cdef bint has_windows(const ox_scheduler *s, const ox_request *request) noexcept nogil:
    # Of windowed stores each needs what it holds between steps, whatever its length, and all together what a step adds.
    cdef int32_t i, n = table_window_need(s.pool, request) + blocks_for(s.config.max_batch_tokens)
    for i in range(s.n_running):
        n += table_window_need(s.pool, s.running[i])
    return n <= s.pool.windows.n


cdef void follow_prefixes(ox_scheduler *s) noexcept nogil:
    # Others may have computed since what a running request needs next.
    cdef int32_t i
    for i in range(s.n_running):
        if not request_is_decoding(s.running[i]):
            attach(s, s.running[i], table_match(s.pool, s.running[i]))


cdef void attach(ox_scheduler *s, ox_request *request, int32_t n_matched) noexcept nogil:
    table_attach(s.pool, request, n_matched)
    if request.num_preemptions == 0:
        request.num_cached_tokens += n_matched * OX_KV_BLOCK
    ox_fetch_add_relaxed_i64(&s.stats.num_cached_tokens, n_matched * OX_KV_BLOCK)


# The plan.

cdef int32_t give(ox_scheduler *s, ox_request *request, int32_t n_tokens) noexcept nogil:
    # Gives a request up to n_tokens more of this step; returns how many it took.
    cdef int32_t n_had = plan_num_tokens(&s.plan, request)
    cdef int32_t n = min(n_had + n_tokens, num_pending(request))
    if request_wants_rows(request):
        n = min(n, max(n_had, request.first_scored - request.num_computed_tokens) + extra_logits(s))
    cdef int32_t overhang = (request.num_computed_tokens + n) % OX_KV_BLOCK
    if n < num_pending(request) and n > overhang:
        n -= overhang  # cut prompts at block boundaries, where the cache can use them
    if request.whole and n < num_pending(request):
        return 0
    n = grow(s, request, n)
    if n <= n_had:
        return 0
    plan_set(&s.plan, request, n, 0)
    if n_had == 0:
        request.served = 1
        request.num_shares += 1
    return n - n_had


cdef int32_t extra_logits(const ox_scheduler *s) noexcept nogil:
    # Rows of logits that are left, beside the one of each running sequence.
    return s.config.max_outputs - s.config.max_batch_size - s.plan.n_extra_logits


cdef int32_t grow(ox_scheduler *s, ox_request *request, int32_t n_tokens) noexcept nogil:
    # Blocks for the next n_tokens. Preempts others only to make room for the first token; returns how many tokens have
    # room, 0 when the request itself was the one to give way.
    cdef int32_t n_free
    cdef int32_t n_blocks = blocks_for(request.num_computed_tokens + n_tokens)
    while request.n_blocks < n_blocks:
        if table_extend(s.pool, request):
            continue
        if request.n_blocks * OX_KV_BLOCK > request.num_computed_tokens and not request.whole:
            break
        if not make_room(s, request):
            return 0
    n_free = request.n_blocks * OX_KV_BLOCK - request.num_computed_tokens
    return min(n_tokens, n_free)


cdef bint make_room(ox_scheduler *s, ox_request *request) noexcept nogil:
    # The last in order that holds a block is preempted, be it the request itself. False: it must go without.
    cdef ox_request *victim
    cdef int32_t i
    for i in range(s.n_running - 1, -1, -1):
        victim = s.running[i]
        if victim.n_blocks > 0:
            preempt(s, victim)
            return victim != request
        if victim == request:
            return False
    return False


cdef void plan_decodes(ox_scheduler *s) noexcept nogil:
    # In order, so that whoever is preempted for another's block has no share of this step yet.
    cdef int32_t i = 0
    while i < s.n_running:
        if request_is_decoding(s.running[i]) and plan_num_tokens(&s.plan, s.running[i]) == 0:
            give(s, s.running[i], 1)
        i += 1


cdef void plan_prompts(ox_scheduler *s) noexcept nogil:
    # Half of the room for prompts belongs to the first in order, so that a long prompt cannot be held up; the rest goes
    # to the shortest first, so that it holds up nobody either. With room for a single block they take turns.
    cdef int32_t room = s.config.max_batch_tokens - s.plan.n_tokens
    cdef int32_t n = collect_prompts(s)
    cdef int32_t i, half
    if s.plan.n_decode > 0:
        room = min(room, pace_chunk_tokens(&s.pace, s.config.max_step_ns))
    if n == 0 or room <= 0:
        return
    half = blocks_for(room // 2) * OX_KV_BLOCK
    if room < 2 * OX_KV_BLOCK:
        half = room if s.num_planned % 2 == 0 else 0
    s.num_planned += 1
    if n == 1 or s.prompts[0].whole:
        half = room
    if half > 0:
        room -= give(s, s.prompts[0], min(half, room))
    for i in range(1, n):
        if room > 0 and s.prompts[i].state == OX_STATE_RUNNING and not has_leader(s, s.prompts[i]):
            room -= give(s, s.prompts[i], room)
    if room > 0 and s.prompts[0].state == OX_STATE_RUNNING:
        give(s, s.prompts[0], room)


cdef int32_t collect_prompts(ox_scheduler *s) noexcept nogil:
    # Into s.prompts: the first in order, then by level and shortness.
    cdef int32_t i, j, n = 0
    cdef ox_request *request
    for i in range(s.n_running):
        request = s.running[i]
        if request_is_decoding(request):
            continue
        j = n
        while j > 1 and s.prompts[j - 1].level == request.level:
            if num_pending(s.prompts[j - 1]) <= num_pending(request):
                break
            s.prompts[j] = s.prompts[j - 1]
            j -= 1
        s.prompts[j] = request
        n += 1
    return n


cdef bint has_leader(const ox_scheduler *s, const ox_request *request) noexcept nogil:
    # Somebody with a share of this step computes the block that the request needs next: wait for it.
    cdef int32_t i
    for i in range(s.plan.n_items):
        if table_leads(s.pool, s.plan.items[i].request, request):
            return True
    return False


cdef void plan_drafts(ox_scheduler *s) noexcept nogil:
    # Guesses get what nobody else wants. They preempt nobody, and leave each running sequence a block to grow into.
    cdef ox_plan_item *item
    cdef ox_request *request
    cdef int32_t i, n
    for i in range(s.plan.n_items):
        item = &s.plan.items[i]
        request = item.request
        # A token is drawn behind the last of them.
        n = min(request.max_output - request.n_output, s.config.n_ctx - num_known(request)) - 1
        n = min(min(n, request.n_drafts), s.config.max_drafts)
        n = min(n, min(extra_logits(s), s.config.max_batch_tokens - s.plan.n_tokens))
        if item.n_draws != 1 or n <= 0:
            continue
        while (request.n_blocks < blocks_for(num_known(request) + n)
               and table_num_available(s.pool) > s.n_running and table_extend(s.pool, request)):
            pass
        n = min(n, request.n_blocks * OX_KV_BLOCK - num_known(request))
        if n > 0:
            plan_set(&s.plan, request, item.n_tokens, n)


# After the step.

cdef void commit(ox_scheduler *s, const ox_plan_item *item, const ox_step_result *result,
                 int64_t now_ns) noexcept nogil:
    cdef ox_request *request = item.request
    cdef int32_t reason = result.finish_reason
    cdef int32_t n_drafts = max(0, item.n_draws - 1)
    cdef int32_t n_accepted = max(0, result.n_tokens - 1)
    item_commit(item, result.n_tokens)
    table_register(s.pool, request, item.first_position // OX_KV_BLOCK)
    states_commit(s.pool, item)
    table_leave(s.pool, request)
    request.num_accepted_drafts += n_accepted
    request.num_rejected_drafts += n_drafts - n_accepted
    ox_fetch_add_relaxed_i64(&s.stats.num_accepted_drafts, n_accepted)
    ox_fetch_add_relaxed_i64(&s.stats.num_rejected_drafts, n_drafts - n_accepted)
    ox_fetch_add_relaxed_i64(&s.stats.num_output_tokens, result.n_tokens)
    if request.prefill_end_ns == 0 and request.num_computed_tokens >= request.n_prompt:
        request.prefill_end_ns = now_ns
    if result.n_tokens > 0 and request.n_output == result.n_tokens:
        request.first_token_ns = now_ns
        ox_fetch_add_relaxed_i64(&s.stats.num_first_tokens, 1)
        ox_fetch_add_relaxed_i64(&s.stats.ttft_ns, max(<int64_t> 0, now_ns - request.arrival_ns))
    if item.n_draws > 0 and result.n_tokens == 0 and reason == OX_FINISH_NONE:
        reason = OX_FINISH_ERROR
    if reason == OX_FINISH_NONE:
        reason = natural_end(s, request)
    if reason != OX_FINISH_NONE:
        finish(s, request, <ox_finish_reason> reason, now_ns)


cdef ox_finish_reason natural_end(const ox_scheduler *s, const ox_request *request) noexcept nogil:
    if request_is_prompt_only(request):
        return OX_FINISH_STOP if num_pending(request) == 0 else OX_FINISH_NONE
    if num_pending(request) == 0:
        return OX_FINISH_LENGTH  # no output was asked for
    if request.n_output == 0:
        return OX_FINISH_NONE
    if request.n_output == request.max_output or num_known(request) >= s.config.n_ctx:
        return OX_FINISH_LENGTH
    if blocks_for(num_known(request)) > s.pool.stats.n_blocks:
        return OX_FINISH_LENGTH
    return OX_FINISH_NONE


cdef void publish(ox_scheduler *s) noexcept nogil:
    ox_store_relaxed_i64(&s.stats.num_running, s.n_running)
    ox_store_relaxed_i64(&s.stats.num_waiting, s.n_waiting)
    ox_store_relaxed_i64(&s.stats.num_blocks_free, s.pool.stats.num_free)
    ox_store_relaxed_i64(&s.stats.num_blocks_cached, s.pool.stats.num_cached)
    ox_store_relaxed_i64(&s.stats.num_blocks_referenced, s.pool.stats.num_referenced)
    if s.pool.snapshots != NULL:
        ox_store_relaxed_i64(&s.stats.num_snapshots, s.pool.snapshots.num_kept)
    if s.pool.windows != NULL:
        ox_store_relaxed_i64(&s.stats.num_window_blocks_cached, s.pool.windows.num_cached)
        ox_store_relaxed_i64(&s.stats.num_window_blocks_read, s.pool.windows.num_read)
