"""Allocation and reference counting of requests; what the fields mean stands in the .pxd."""

from libc.stdint cimport INT32_MAX, int32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from oxillama._core.atomics cimport (
    ox_fetch_add_acq_rel_i32,
    ox_fetch_add_relaxed_i32,
    ox_load_acquire_i32,
    ox_load_relaxed_i32,
    ox_store_relaxed_i32,
    ox_store_release_i32,
)
from oxillama._core.constraint cimport constraint_destroy
from oxillama._core.network.adapter cimport set_is_revoked, set_unpin
from oxillama._core.scheduling.kv_blocks cimport OX_KV_BLOCK


cdef ox_request *request_create(const int32_t *prompt, int32_t n_prompt, int32_t max_output) noexcept nogil:
    if n_prompt < 1 or max_output < 0 or max_output > INT32_MAX - OX_KV_BLOCK - n_prompt:
        return NULL
    cdef size_t n_tokens = <size_t> n_prompt + max_output
    cdef size_t max_blocks = (n_tokens + OX_KV_BLOCK - 1) // OX_KV_BLOCK
    cdef ox_request *request = <ox_request *> malloc(
        sizeof(ox_request) + (n_tokens + 2 * max_blocks) * sizeof(int32_t))
    if request == NULL:
        return NULL
    memset(request, 0, sizeof(ox_request))
    ox_store_relaxed_i32(&request.num_references, 1)
    request.tokens = <int32_t *> (request + 1)
    request.blocks = request.tokens + n_tokens
    request.window_blocks = request.blocks + max_blocks
    memset(request.window_blocks, 0, max_blocks * sizeof(int32_t))
    request.max_blocks = <int32_t> max_blocks
    request.n_prompt = n_prompt
    request.max_output = max_output
    request.cache_prompt = 1
    request.slot = -1
    request.restored = -1
    request.rolling_block = -1
    request.second_start = INT32_MAX
    memcpy(request.tokens, prompt, n_prompt * sizeof(int32_t))
    return request


cdef ox_request *request_ref(ox_request *request) noexcept nogil:
    # Relaxed is enough: whoever copies a reference holds one, so the request cannot go away meanwhile.
    ox_fetch_add_relaxed_i32(&request.num_references, 1)
    return request


cdef void request_unref(ox_request *request) noexcept nogil:
    # acq_rel: everything other holders did to the request happens before it is freed.
    if request == NULL or ox_fetch_add_acq_rel_i32(&request.num_references, -1) != 1:
        return
    set_unpin(request.adapters)
    if request.destroy_sampling != NULL:
        request.destroy_sampling(request.sampling)
    if request.destroy_output != NULL:
        request.destroy_output(request.output)
    if request.drafter != NULL:
        request.drafter.destroy(request.drafter)
    constraint_destroy(request.constraint)
    free(request)


cdef void request_cancel(ox_request *request) noexcept nogil:
    ox_store_relaxed_i32(&request.cancelled, 1)


cdef bint request_is_cancelled(ox_request *request) noexcept nogil:
    return ox_load_relaxed_i32(&request.cancelled) != 0


cdef void request_publish_finish(ox_request *request, ox_finish_reason reason) noexcept nogil:
    set_unpin(request.adapters)
    request.adapters = NULL
    ox_store_release_i32(&request.finish_reason, reason)


cdef ox_finish_reason request_finish_reason(ox_request *request) noexcept nogil:
    return <ox_finish_reason> ox_load_acquire_i32(&request.finish_reason)


cdef bint request_append(ox_request *request, int32_t token) noexcept nogil:
    cdef int32_t *place = request.tokens + num_known(request)
    cdef bint is_drafted = request.n_drafts > 0 and place[0] == token
    request.n_drafts = request.n_drafts - 1 if is_drafted else 0
    place[0] = token
    request.n_output += 1
    return is_drafted


cdef int32_t num_known(const ox_request *request) noexcept nogil:
    return request.n_prompt + request.n_output


cdef int32_t num_pending(const ox_request *request) noexcept nogil:
    return num_known(request) - request.num_computed_tokens


cdef bint request_is_decoding(const ox_request *request) noexcept nogil:
    return request.n_output > 0 and num_pending(request) == 1


cdef bint request_is_prompt_only(const ox_request *request) noexcept nogil:
    return request.kind == OX_REQUEST_EMBED or request.kind == OX_REQUEST_EVALUATE


cdef bint request_wants_rows(const ox_request *request) noexcept nogil:
    return request.kind == OX_REQUEST_EVALUATE or (request.scores_prompt and request.n_output == 0)


cdef ox_finish_reason request_due_end(ox_request *request, int64_t now_ns) noexcept nogil:
    if request_is_cancelled(request):
        return OX_FINISH_CANCELLED
    if request.deadline_ns != 0 and now_ns >= request.deadline_ns:
        return OX_FINISH_DEADLINE
    if set_is_revoked(request.adapters):
        request.status = OX_FAULT_ADAPTER
        return OX_FINISH_ERROR
    return OX_FINISH_NONE
