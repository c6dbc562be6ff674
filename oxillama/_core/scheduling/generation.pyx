"""What becomes of a step's numbers for one request: tokens, their text and logprobs, and whether it ends here."""

from libc.math cimport NAN
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memcpy

from oxillama._core.atomics cimport ox_load_relaxed_i32
from oxillama._core.constraint cimport (
    OX_CONSTRAINT_COMPLETE,
    OX_CONSTRAINT_DEAD,
    OX_CONSTRAINT_OPEN,
    constraint_mask,
    constraint_settle,
    constraint_take,
    mask_is_within,
    ox_constraint_status,
)
from oxillama._core.network.executor cimport row_of
from oxillama._core.output.output cimport (
    OX_STOP_END,
    OX_STOP_TOKEN,
    output_flush,
    output_publish,
    output_text,
    output_wake,
    ox_output,
)
from oxillama._core.sampling.penalties cimport ox_history
from oxillama._core.network.pooling cimport pooling_add, pooling_ranks
from oxillama._core.output.prompt_scores cimport prompt_scores_add
from oxillama._core.request cimport (
    OX_FINISH_ERROR,
    OX_FINISH_LENGTH,
    OX_FINISH_NONE,
    OX_FINISH_STOP,
    request_append,
    request_publish_finish,
)
from oxillama._core.sampling.sampler cimport (
    OX_SAMPLE_NO_TOKEN,
    OX_SAMPLE_NOT_FINITE,
    OX_SAMPLE_OK,
    ox_sample,
    ox_sample_result,
)
from oxillama._core.sampling.parameters cimport ox_sampling


cdef void keep_row(ox_program *program, const ox_plan_item *item, int32_t t, int32_t output_row,
                   int32_t n_vocab) noexcept nogil:
    cdef ox_request *request = item.request
    cdef ox_output *output = <ox_output *>request.output
    cdef const float *logits = row_of(program, program.logits, output_row)
    cdef int32_t position = item.first_position + t
    if output.rows != NULL:
        memcpy(output.rows + <size_t>position * n_vocab, logits, n_vocab * sizeof(float))
    if output.scores != NULL:
        prompt_scores_add(output.scores, program.kernels, request.tokens, position, logits, n_vocab)


cdef bint is_broken(const ox_output *output) noexcept nogil:
    return output.scores != NULL and ox_load_relaxed_i32(&output.scores.is_broken) != 0


cdef void take_item(ox_program *program, const ox_plan_item *item, int32_t first_draw, int32_t first_hidden,
                    ox_candidates *memory, int32_t n_vocab, ox_step_result *result) noexcept nogil:
    cdef ox_request *request = item.request
    cdef ox_output *output = <ox_output *>request.output
    cdef int32_t i, buffer = -1, n_before = request.n_output
    cdef bint is_drafted = True
    result.n_tokens = 0
    result.finish_reason = OX_FINISH_NONE
    if is_broken(output):
        fail(request, OX_FAULT_NUMERICAL, result)
        return
    if item.n_hidden > 0:
        buffer = program.scores if pooling_ranks(output.pooling) else program.hidden
    for i in range(item.n_hidden):
        if not pooling_add(output.pooling, item.first_hidden + i, row_of(program, buffer, first_hidden + i)):
            fail(request, OX_FAULT_NUMERICAL, result)
            return
    for i in range(item.n_draws):
        if is_drafted and result.finish_reason == OX_FINISH_NONE:
            is_drafted = draw(request, memory, row_of(program, program.logits, first_draw + i), n_vocab, result)
    if request.constraint != NULL and constraint_settle(request.constraint) != OX_CONSTRAINT_OPEN:
        if result.finish_reason == OX_FINISH_NONE:
            fail(request, OX_FAULT_CONSTRAINT, result)
    result.n_tokens = request.n_output - n_before


cdef void fail(ox_request *request, int32_t status, ox_step_result *result) noexcept nogil:
    request.status = status
    result.finish_reason = OX_FINISH_ERROR


cdef bint draw(ox_request *request, ox_candidates *memory, const float *logits, int32_t n_vocab,
               ox_step_result *result) noexcept nogil:
    """Draws one token and appends it, unless that fails. True: it had been drafted."""
    cdef const ox_sampling *sampling = <const ox_sampling *>request.sampling
    cdef ox_output *output = <ox_output *>request.output
    cdef ox_sample_result sample
    cdef ox_history history
    cdef const uint32_t *mask = NULL
    cdef ox_constraint_status constrained
    cdef int status
    if request.constraint != NULL:
        mask = constraint_mask(request.constraint, request.n_output, &constrained)
        if mask == NULL:
            end_constrained(request, constrained, result)
            return False
    history.prompt = request.tokens
    history.n_prompt = request.n_prompt
    history.output = request.tokens + request.n_prompt
    history.n_output = request.n_output
    status = ox_sample(sampling, memory, logits, n_vocab, &history, output.choice, <uint32_t>request.n_output, mask,
                       &output.mirostat_mu if sampling.mirostat else NULL, &sample)
    if status == OX_SAMPLE_OK:
        return append(request, &sample, result)
    if status == OX_SAMPLE_NOT_FINITE:
        fail(request, OX_FAULT_NUMERICAL, result)
    elif status != OX_SAMPLE_NO_TOKEN:
        fail(request, OX_FAULT_SAMPLER, result)
    elif mask == NULL:
        fail(request, OX_FAULT_NO_TOKEN, result)
    elif mask_is_within(mask, n_vocab, sampling.ends, sampling.n_eog):
        # Complete, and its end tokens are banned: it ends without one.
        end_constrained(request, OX_CONSTRAINT_COMPLETE, result)
    else:
        fail(request, OX_FAULT_DEAD_END, result)
    return False


cdef void end_constrained(ox_request *request, ox_constraint_status status, ox_step_result *result) noexcept nogil:
    """What the constraint says ends the request, if it does."""
    cdef ox_output *output = <ox_output *>request.output
    if status == OX_CONSTRAINT_COMPLETE:
        output.stop_kind = OX_STOP_END
        result.finish_reason = OX_FINISH_STOP
    elif status != OX_CONSTRAINT_OPEN:
        fail(request, OX_FAULT_DEAD_END if status == OX_CONSTRAINT_DEAD else OX_FAULT_CONSTRAINT, result)


cdef bint append(ox_request *request, const ox_sample_result *sample, ox_step_result *result) noexcept nogil:
    """Takes a drawn token into the output, and decides whether it is the last. True: it had been drafted."""
    cdef const ox_sampling *sampling = <const ox_sampling *>request.sampling
    cdef ox_output *output = <ox_output *>request.output
    cdef int32_t i, n = request.n_output, stopped = 0
    if output.n_logprobs >= 0:
        output.logprobs[n] = sample.logprob
        for i in range(output.n_logprobs):
            output.top_ids[n * output.n_logprobs + i] = sample.top_tokens[i] if i < sample.n_top else -1
            output.top_logprobs[n * output.n_logprobs + i] = sample.top_logprobs[i] if i < sample.n_top else NAN
    for i in range(sampling.n_ends):
        if sampling.ends[i] == sample.token:
            output.stop_kind = OX_STOP_END if i < sampling.n_eog else OX_STOP_TOKEN
            output.stop_value = sample.token
            result.finish_reason = OX_FINISH_STOP
            break
    if result.finish_reason == OX_FINISH_NONE:
        stopped = output_text(output, n + 1, sample.token)
        if stopped < 0:
            fail(request, OX_FAULT_MEMORY, result)
            return False
        if stopped:
            result.finish_reason = OX_FINISH_STOP
        elif request.constraint != NULL:
            end_constrained(request, constraint_take(request.constraint, sample.token), result)
        if result.finish_reason == OX_FINISH_NONE and n + 1 >= request.max_output:
            result.finish_reason = OX_FINISH_LENGTH
    output.text_ends[n] = output.text_length
    return request_append(request, sample.token)


cdef void publish_generation(ox_request *request) noexcept nogil:
    cdef ox_output *output = <ox_output *>request.output
    output_publish(output, request.n_output)
    output_wake(output)


cdef void finish_generation(void *context, ox_request *request, ox_finish_reason reason) noexcept nogil:
    cdef ox_output *output = <ox_output *>request.output
    if output == NULL:
        request_publish_finish(request, reason)
        return
    if output_flush(output) < 0 and reason != OX_FINISH_ERROR:
        request.status = OX_FAULT_MEMORY
        reason = OX_FINISH_ERROR
    if reason == OX_FINISH_LENGTH and output.stop_kind != 0:
        reason = OX_FINISH_STOP
    output_publish(output, request.n_output)
    request_publish_finish(request, reason)
    output_wake(output)
