"""The items of a plan and their sums."""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memmove

from oxillama._core.request cimport (
    OX_FINISH_NONE,
    num_pending,
    request_due_end,
    request_is_decoding,
    request_is_prompt_only,
    request_wants_rows,
)


cdef void plan_clear(ox_plan *plan) noexcept nogil:
    plan.n_items = plan.n_tokens = plan.n_decode = plan.n_drafts = plan.n_logits = plan.n_extra_logits = 0


cdef ox_plan_item *find(const ox_plan *plan, const ox_request *request) noexcept nogil:
    cdef int32_t i
    for i in range(plan.n_items):
        if plan.items[i].request == request:
            return &plan.items[i]
    return NULL


cdef void count(ox_plan *plan, const ox_plan_item *item, int32_t sign) noexcept nogil:
    plan.n_tokens += sign * item.n_tokens
    plan.n_drafts += sign * max(0, item.n_draws - 1)
    plan.n_logits += sign * item.n_logits
    plan.n_extra_logits += sign * (item.n_logits - min(item.n_draws, 1))
    if request_is_decoding(item.request):
        plan.n_decode += sign


cdef int32_t plan_num_tokens(const ox_plan *plan, const ox_request *request) noexcept nogil:
    cdef const ox_plan_item *item = find(plan, request)
    return item.n_tokens if item != NULL else 0


cdef bint draws(const ox_request *request, int32_t n_tokens) noexcept nogil:
    # Is there room for a token behind the next n_tokens, and are these all before it?
    return (not request_is_prompt_only(request) and n_tokens == num_pending(request)
            and request.n_output < request.max_output)


cdef void plan_set(ox_plan *plan, ox_request *request, int32_t n_tokens, int32_t n_drafts) noexcept nogil:
    cdef ox_plan_item *item = find(plan, request)
    cdef int32_t first = request.num_computed_tokens
    if item != NULL:
        count(plan, item, -1)
    else:
        item = &plan.items[plan.n_items]
        plan.n_items += 1
    item.request = request
    item.first_position = first
    item.n_tokens = n_tokens + n_drafts
    item.restored = -1
    item.n_marks = 0
    item.n_draws = 1 + n_drafts if draws(request, n_tokens) else 0
    item.n_logits = item.n_draws
    if request_wants_rows(request):
        item.n_logits = max(item.n_draws, min(item.n_tokens, first + item.n_tokens - request.first_scored))
    item.first_hidden = max(first, request.first_hidden)
    item.n_hidden = max(0, min(first + n_tokens, request.end_hidden) - item.first_hidden)
    count(plan, item, 1)


cdef void plan_remove(ox_plan *plan, const ox_request *request) noexcept nogil:
    cdef ox_plan_item *item = find(plan, request)
    if item == NULL:
        return
    count(plan, item, -1)
    plan.n_items -= 1
    memmove(item, item + 1, (plan.items + plan.n_items - item) * sizeof(ox_plan_item))


cdef bint plan_is_alive(const ox_plan *plan, int64_t now_ns) noexcept nogil:
    cdef int32_t i
    for i in range(plan.n_items):
        if request_due_end(plan.items[i].request, now_ns) == OX_FINISH_NONE:
            return True
    return False


cdef void plan_rollback(ox_plan *plan) noexcept nogil:
    cdef int32_t i
    for i in range(plan.n_items):
        plan.items[i].request.n_drafts = 0
    plan_clear(plan)


cdef int32_t num_accepted(const ox_plan_item *item, int32_t n_appended) noexcept nogil:
    # The first draw follows a known token; the others stand on drafts, which are true as far as another followed them.
    return max(0, n_appended - 1)


cdef void item_commit(const ox_plan_item *item, int32_t n_appended) noexcept nogil:
    cdef int32_t n_refused = max(0, item.n_draws - 1) - num_accepted(item, n_appended)
    item.request.num_computed_tokens = item.first_position + item.n_tokens - n_refused
    item.request.n_drafts = 0
