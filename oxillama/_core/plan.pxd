"""One step as data: which requests compute which tokens, and what is wanted of them."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.request cimport ox_request

cdef enum ox_wants_output:
    OX_OUTPUT_NONE = 0   # the tokens only fill the KV cache
    OX_OUTPUT_LAST = 1   # the last token's logits: one token is to be sampled
    OX_OUTPUT_ALL = 2    # every token's logits, for an evaluation or to score the prompt
    OX_OUTPUT_HIDDEN = 3  # the hidden states that the request's pooling wants (OX_REQUEST_EMBED)
    OX_OUTPUT_ALL_AND_LAST = 4  # every token's logits, and one token is to be sampled from the last

# Tokens [first_position, first_position + n_tokens) of request->tokens; their blocks are in request->blocks.
ctypedef struct ox_plan_item:
    ox_request *request
    int32_t n_tokens
    int32_t first_position
    int32_t wants_output

# One step. Items that decode (one token each) come first. Valid until apply() or the next schedule().
ctypedef struct ox_plan:
    ox_plan_item *items      # [n_items], at most max_batch_size
    int32_t n_items
    int32_t n_tokens         # at most max_batch_tokens
    int32_t n_decode         # items that continue an output
    int32_t n_outputs        # rows of logits wanted
    int32_t n_prompt_outputs  # of these, by requests that want every row

# A token is to be sampled for the item.
cdef bint item_draws(const ox_plan_item *item) noexcept nogil
# The logits of all its rows are wanted.
cdef bint item_wants_all(const ox_plan_item *item) noexcept nogil
cdef void plan_clear(ox_plan *plan) noexcept nogil
# Tokens of the request in this step, 0 when it has no share.
cdef int32_t plan_num_tokens(const ox_plan *plan, const ox_request *request) noexcept nogil
# The request's next n_tokens, in place of what it had.
cdef void plan_set(ox_plan *plan, ox_request *request, int32_t n_tokens) noexcept nogil
cdef void plan_remove(ox_plan *plan, const ox_request *request) noexcept nogil
# Between layers: 0 when every request of the plan is cancelled or overdue, so that the step may be abandoned.
cdef bint plan_is_alive(const ox_plan *plan, int64_t now_ns) noexcept nogil
