"""What becomes of a step's numbers for one request: a token, its text and logprobs, and whether it ends here."""

from libc.stdint cimport int32_t

from oxillama._core.candidates cimport ox_candidates
from oxillama._core.executor cimport ox_program
from oxillama._core.request cimport ox_finish_reason, ox_request
from oxillama._core.sampler cimport ox_sample_result
from oxillama._core.plan cimport ox_plan_item
from oxillama._core.scheduler cimport ox_step_result

# Codes of request.status beside those of ox_status, when a request ends with OX_FINISH_ERROR.
cdef enum:
    OX_FAULT_NUMERICAL = 101   # NaN or infinite logits
    OX_FAULT_NO_TOKEN = 102    # every token is banned
    OX_FAULT_MEMORY = 103
    OX_FAULT_SAMPLER = 104     # a working-memory limit; not reachable through the public API

# Draws the next token; returns an ox_sample_status. Touches nothing but the result and the request's mirostat state.
cdef int sample_request(ox_request *request, ox_candidates *memory, const float *logits, int32_t n_vocab,
                        ox_sample_result *sample) noexcept nogil
# Takes a drawn token into the request's output and decides whether it is the last.
cdef void consume_sample(ox_request *request, const ox_sample_result *sample, int32_t status,
                         ox_step_result *result) noexcept nogil
# Takes the logits of row `t` of an item from output row `output_row` of the program. Rows may be taken by several
# threads at once.
cdef void take_row(ox_program *program, const ox_plan_item *item, int32_t t, int32_t output_row,
                   int32_t n_vocab) noexcept nogil
# What became of the item whose rows were all taken and for which nothing is drawn.
cdef void consume_rows(const ox_plan_item *item, ox_step_result *result) noexcept nogil
# Takes the hidden states of an item, the first being output row `first_output` of the program.
cdef void consume_embedding(ox_program *program, const ox_plan_item *item, int32_t first_output,
                            ox_step_result *result) noexcept nogil
# Shows readers the token that was consumed last.
cdef void publish_generation(ox_request *request) noexcept nogil
# The scheduler's on_finish.
cdef void finish_generation(void *context, ox_request *request, ox_finish_reason reason) noexcept nogil
