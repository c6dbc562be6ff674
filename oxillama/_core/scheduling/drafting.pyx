"""Asks everybody who may say or guess what comes next; the contract stands in the .pxd."""

from libc.stdint cimport int32_t

from oxillama._core.request cimport num_known, ox_request, request_is_decoding
from oxillama._core.scheduling.draft_model cimport draft_model_propose
from oxillama._core.scheduling.row_costs cimport OX_COSTED_ROWS


cdef void propose_drafts(ox_scheduler *s, ox_row_costs *costs, ox_draft_model *draft_model,
                         int32_t n_vocab) noexcept nogil:
    cdef int32_t i, k, n, n_rows = 0
    cdef int32_t *drafts
    cdef ox_request *request
    if s.config.max_drafts == 0:
        return
    for i in range(s.n_running):
        n_rows += 1 if request_is_decoding(s.running[i]) else OX_COSTED_ROWS + 1
    for i in range(s.n_running):
        request = s.running[i]
        if (request.drafter == NULL and request.constraint == NULL) or not request_is_decoding(request):
            continue
        n = min(s.config.max_drafts, request.max_output - request.n_output - 1)
        drafts = request.tokens + num_known(request)
        request.n_drafts = 0
        if n > 0 and request.constraint != NULL and request.constraint.forced != NULL:
            request.n_drafts = request.constraint.forced(request.constraint, drafts, n)
        if n > 0 and request.n_drafts == 0 and request.drafter != NULL:
            request.n_drafts = request.drafter.propose(request.drafter, request, costs, n_rows, n, drafts)
        for k in range(request.n_drafts):
            if not 0 <= drafts[k] < n_vocab:
                request.n_drafts = k
                break
        n_rows += request.n_drafts
    if draft_model != NULL:
        draft_model_propose(draft_model, s, costs, n_rows)
