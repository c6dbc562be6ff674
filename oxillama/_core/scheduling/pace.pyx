"""The moving averages behind max_step_ms."""

from libc.stdint cimport INT32_MAX, int32_t, int64_t

from oxillama._core.scheduling.kv_blocks cimport OX_KV_BLOCK


cdef double follow(double average, double sample) noexcept nogil:
    # Slower steps are believed at once by half, faster ones by a quarter: a step that is too long hurts others.
    if average <= 0:
        return sample
    return average + (sample - average) * (0.5 if sample > average else 0.25)


cdef void pace_observe(ox_pace *pace, int64_t step_ns, int32_t n_tokens, int32_t n_decode) noexcept nogil:
    cdef int32_t n_prompt = n_tokens - n_decode
    if step_ns <= 0 or n_tokens <= 0:
        return
    if n_prompt <= 0:
        pace.decode_step_ns = follow(pace.decode_step_ns, <double> step_ns)
        return
    cdef double prompt_ns = <double> step_ns
    if n_decode > 0:
        # Never less than a tenth: the estimate must stay positive when a mixed step was faster than a decoding one.
        prompt_ns = max(prompt_ns - pace.decode_step_ns, 0.1 * prompt_ns)
    elif n_prompt < OX_KV_BLOCK:
        return  # a few tokens measure the fixed cost of a step
    pace.prompt_token_ns = follow(pace.prompt_token_ns, prompt_ns / n_prompt)


cdef int32_t pace_chunk_tokens(const ox_pace *pace, int64_t max_step_ns) noexcept nogil:
    if pace.prompt_token_ns <= 0:
        return OX_KV_BLOCK
    cdef double n = (<double> max_step_ns - pace.decode_step_ns) / pace.prompt_token_ns
    return <int32_t> min(max(n, <double> OX_KV_BLOCK), <double> INT32_MAX)
