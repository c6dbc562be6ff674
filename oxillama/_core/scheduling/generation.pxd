"""What becomes of a step's numbers for one request: tokens, their text and logprobs, and whether it ends here."""

from libc.stdint cimport int32_t

from oxillama._core.sampling.candidates cimport ox_candidates
from oxillama._core.network.executor cimport ox_program
from oxillama._core.request cimport ox_finish_reason, ox_request
from oxillama._core.scheduling.plan cimport ox_plan_item
from oxillama._core.scheduling.scheduler cimport ox_step_result

# Codes of request.status beside those of ox_status, when a request ends with OX_FINISH_ERROR.
cdef enum:
    OX_FAULT_NUMERICAL = 101   # NaN or infinite logits
    OX_FAULT_NO_TOKEN = 102    # every token is banned
    OX_FAULT_MEMORY = 103
    OX_FAULT_SAMPLER = 104     # a working-memory limit; not reachable through the public API
    OX_FAULT_DEAD_END = 105    # constraint, bans and bias leave no token
    OX_FAULT_CONSTRAINT = 106  # the constraint hit a limit of its own

# Keeps the logits of row `t` of an item, which are not drawn from; they are output row `output_row` of the program.
# Several threads may keep rows at once.
cdef void keep_row(ox_program *program, const ox_plan_item *item, int32_t t, int32_t output_row,
                   int32_t n_vocab) noexcept nogil
# Everything else that the step has for an item: its hidden states, the first being output row `first_hidden` of the
# program, then its tokens, drawn in order from the rows of logits from `first_draw` on, until one is not what was
# drafted or ends the request. Touches only the request and the result. Rows that are to be kept were kept before.
cdef void take_item(ox_program *program, const ox_plan_item *item, int32_t first_draw, int32_t first_hidden,
                    ox_candidates *memory, int32_t n_vocab, ox_step_result *result) noexcept nogil
# Shows readers the tokens that were appended.
cdef void publish_generation(ox_request *request) noexcept nogil
# The scheduler's on_finish.
cdef void finish_generation(void *context, ox_request *request, ox_finish_reason reason) noexcept nogil
