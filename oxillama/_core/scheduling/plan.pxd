"""One step as data: which requests compute which tokens, and how many of their rows leave the network."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.request cimport ox_request
from oxillama._core.scheduling.snapshots cimport OX_MAX_MARKS, ox_mark

# Tokens [first_position, first_position + n_tokens) of request->tokens; their blocks are in request->blocks. The rows
# of logits that are not drawn from are kept for whoever wants to see them.
ctypedef struct ox_plan_item:
    ox_request *request
    int32_t first_position
    int32_t n_tokens
    int32_t n_logits         # of the last rows, become logits
    int32_t n_draws          # of these, the last, are drawn from; the inputs of all but the first are drafts
    int32_t first_hidden     # position
    int32_t n_hidden         # rows from there on whose hidden states leave
    int32_t restored         # snapshot that the state begins with, -1: the slot's own
    int32_t n_marks          # states on the way that are to be kept, if that far is committed
    ox_mark marks[OX_MAX_MARKS]

# One step. Items that decode come first. Valid until apply() or the next schedule().
ctypedef struct ox_plan:
    ox_plan_item *items      # [n_items], at most max_batch_size
    int32_t n_items
    int32_t n_tokens         # at most max_batch_tokens
    int32_t n_decode         # items that continue an output
    int32_t n_drafts         # tokens that are guesses
    int32_t n_logits         # rows of logits
    int32_t n_extra_logits   # of these, beyond the one of each item that is drawn from

cdef void plan_clear(ox_plan *plan) noexcept nogil
# Tokens of the request in this step, 0 when it has no share.
cdef int32_t plan_num_tokens(const ox_plan *plan, const ox_request *request) noexcept nogil
# The request's next n_tokens, in place of what it had, and the first n_drafts of its drafts behind them.
cdef void plan_set(ox_plan *plan, ox_request *request, int32_t n_tokens, int32_t n_drafts) noexcept nogil
cdef void plan_remove(ox_plan *plan, const ox_request *request) noexcept nogil
# Between layers: 0 when every request of the plan is cancelled or overdue, so that the step may be abandoned.
cdef bint plan_is_alive(const ox_plan *plan, int64_t now_ns) noexcept nogil
# The step was abandoned: nothing of it has happened but blocks.
cdef void plan_rollback(ox_plan *plan) noexcept nogil
# How many drafts of the item were right when so many tokens were drawn: their rows stand.
cdef int32_t num_accepted(const ox_plan_item *item, int32_t n_appended) noexcept nogil
# The step is over, and n_appended tokens were drawn for the item: computed is what stands before the last of them.
cdef void item_commit(const ox_plan_item *item, int32_t n_appended) noexcept nogil
