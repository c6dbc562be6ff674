"""The items of a plan and their sums."""

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memmove

from oxillama._core.request cimport (
    OX_FINISH_NONE,
    OX_REQUEST_EMBED,
    num_pending,
    request_due_end,
    request_is_decoding,
    request_is_prompt_only,
    request_wants_rows,
)


cdef bint item_draws(const ox_plan_item *item) noexcept nogil:
    return item.wants_output == OX_OUTPUT_LAST or item.wants_output == OX_OUTPUT_ALL_AND_LAST


cdef bint item_wants_all(const ox_plan_item *item) noexcept nogil:
    return item.wants_output == OX_OUTPUT_ALL or item.wants_output == OX_OUTPUT_ALL_AND_LAST


cdef void plan_clear(ox_plan *plan) noexcept nogil:
    plan.n_items = plan.n_tokens = plan.n_decode = plan.n_outputs = plan.n_prompt_outputs = 0


cdef ox_plan_item *find(const ox_plan *plan, const ox_request *request) noexcept nogil:
    cdef int32_t i
    for i in range(plan.n_items):
        if plan.items[i].request == request:
            return &plan.items[i]
    return NULL


cdef void count(ox_plan *plan, const ox_plan_item *item, int32_t sign) noexcept nogil:
    plan.n_tokens += sign * item.n_tokens
    if item.wants_output == OX_OUTPUT_LAST:
        plan.n_outputs += sign
    elif item_wants_all(item):
        plan.n_outputs += sign * item.n_tokens
        plan.n_prompt_outputs += sign * item.n_tokens
    if request_is_decoding(item.request):
        plan.n_decode += sign


cdef int32_t plan_num_tokens(const ox_plan *plan, const ox_request *request) noexcept nogil:
    cdef const ox_plan_item *item = find(plan, request)
    return item.n_tokens if item != NULL else 0


cdef void plan_set(ox_plan *plan, ox_request *request, int32_t n_tokens) noexcept nogil:
    cdef ox_plan_item *item = find(plan, request)
    if item != NULL:
        count(plan, item, -1)
    else:
        item = &plan.items[plan.n_items]
        plan.n_items += 1
    item.request = request
    item.n_tokens = n_tokens
    item.first_position = request.num_computed_tokens
    cdef bint draws = (not request_is_prompt_only(request) and n_tokens == num_pending(request)
                       and request.n_output < request.max_output)
    if request.kind == OX_REQUEST_EMBED:
        item.wants_output = OX_OUTPUT_HIDDEN
    elif request_wants_rows(request):
        item.wants_output = OX_OUTPUT_ALL_AND_LAST if draws else OX_OUTPUT_ALL
    else:
        item.wants_output = OX_OUTPUT_LAST if draws else OX_OUTPUT_NONE
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
