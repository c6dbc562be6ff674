"""From one row of logits to one token: the order of the stages, the draw, and logprobs."""

from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, NAN, pow, log
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy

from oxillama._core.constraint cimport mask_only_token
from oxillama._core.sampling.candidates cimport (
    ox_candidates_create,
    ox_candidates_free,
    ox_count_blocks_above,
    ox_entropy,
    ox_keep_above,
    ox_keep_first,
    ox_load,
    ox_log_sum_exp,
    ox_multiply_high,
    ox_rank,
    ox_row_find,
    ox_row_mass,
    ox_weigh,
)
from oxillama._core.sampling.gumbel cimport ox_gumbel_draw_token
from oxillama._core.network.kernels cimport kernels_of
from oxillama._core.sampling.penalties cimport ox_edit_logits, ox_edits_logits, ox_is_banned
from oxillama._core.sampling.philox cimport OX_RANDOM_DRAW, OX_RANDOM_XTC, ox_random_bits, ox_random_uniform
from oxillama._core.sampling.parameters cimport CompiledSampling
from oxillama._core.sampling.truncation cimport ox_exclude_top, ox_mirostat_next, ox_truncate, ox_truncate_mirostat

from oxillama.errors import InvalidRequestError, NumericalError

# Below the first, the quotient of two logits leaves the range of float32; the second only bounds the arithmetic.
cdef double MIN_TEMPERATURE = 1e-5
cdef double MAX_TEMPERATURE = 1e7


cdef double report_logprobs(ox_candidates* c, int n_top, ox_sample_result* result) noexcept nogil:
    """Fill the alternatives from the raw logits just loaded; return the log of the sum of their exponentials."""
    cdef double log_sum
    cdef int i
    c.total = ox_row_mass(c.x, c.n, c.max)
    log_sum = ox_log_sum_exp(c)
    result.n_top = min(n_top, c.n, OX_MAX_LOGPROBS)
    if result.n_top > 0:
        ox_keep_first(c, result.n_top)
        ox_rank(c)
        for i in range(result.n_top):
            result.top_tokens[i] = c.ids[c.places[i]]
            result.top_logprobs[i] = <float> (c.x[c.places[i]] - log_sum)
    return log_sum


cdef double effective_temperature(ox_candidates* c, const ox_sampling* s) noexcept nogil:
    """Dynamic temperature: entropy, as a share of the largest possible one, places it within the range."""
    cdef double temperature = s.temperature
    cdef double low, high
    if s.dynatemp_range > 0 and c.n > 1:
        low = max(0.0, s.temperature - s.dynatemp_range)
        high = min(s.temperature + s.dynatemp_range, MAX_TEMPERATURE)  # finite, or the product below is none
        ox_weigh(c, 1)
        temperature = low + (high - low) * pow(min(1.0, ox_entropy(c) / log(<double> c.n)), s.dynatemp_exponent)
    return min(max(temperature, MIN_TEMPERATURE), MAX_TEMPERATURE)


cdef bint looks_at_one(const ox_sampling* s) noexcept nogil:
    """Whether every stage behind the mask treats each token by itself, so that the best token of all that is allowed is
    the best of those allowed. The highest score wins, and a score does not depend on who else is there."""
    return s.temperature == 0 or (
        s.mirostat == 0 and s.top_n_sigma <= 0 and s.top_k == 0 and s.typical_p >= 1 and s.top_p >= 1 and s.min_p == 0
        and s.top_a == 0 and s.epsilon_cutoff == 0 and s.eta_cutoff == 0 and s.xtc_probability == 0
        and s.dynatemp_range == 0
    )


cdef bint first_cut_takes_none(const ox_sampling* s, const ox_candidates* c) noexcept nogil:
    """Whether the first cut leaves banned tokens out by itself: they weigh nothing, and no block is kept for them."""
    if s.mirostat != 0 or s.top_n_sigma > 0:
        return False
    if s.top_k > 0:
        return ox_count_blocks_above(c, -FLT_MAX) >= s.top_k
    return s.typical_p >= 1 and s.top_p < 1


cdef int shape(
    const ox_sampling* s, ox_candidates* c, const float* logits, const ox_history* history, uint32_t choice,
    uint32_t position, const uint32_t* mask, const double* mirostat_mu, double* temperature
) noexcept nogil:
    """Run every stage but the draw, from the logits just loaded: leaves the final candidates, for greedy one, and the
    temperature to draw at."""
    if ox_edits_logits(s, history, position, mask):
        memcpy(c.edited, logits, c.n_vocab * sizeof(float))
        if not ox_edit_logits(c, s, history, position, mask):
            return OX_SAMPLE_HISTORY
        if not ox_load(c, c.edited):
            # Only banned ones are not finite. Whoever looks at each token by itself never takes them; others need them
            # gone.
            if c.max == -INFINITY:
                return OX_SAMPLE_NO_TOKEN
            if s.temperature == 0:
                ox_keep_above(c, c.max)
            elif not (looks_at_one(s) or first_cut_takes_none(s, c)):
                ox_keep_above(c, -INFINITY)
    if s.temperature == 0:
        ox_keep_first(c, 1)
        temperature[0] = 1
        return OX_SAMPLE_OK
    if s.mirostat == 0:
        ox_truncate(c, s)
    elif mirostat_mu == NULL:
        return OX_SAMPLE_NO_STATE
    else:
        ox_truncate_mirostat(c, s, mirostat_mu[0])
    if s.xtc_probability > 0 and (
        ox_random_uniform(s.seed, choice, position, OX_RANDOM_XTC) < s.xtc_probability
    ):
        ox_exclude_top(c, s.xtc_threshold)
    temperature[0] = effective_temperature(c, s)
    return OX_SAMPLE_OK


cdef int load(
    const ox_sampling* s, ox_candidates* c, const float* logits, ox_sample_result* result, double* log_sum
) noexcept nogil:
    """Begin: the whole vocabulary, and what is reported of it."""
    result.token = -1
    result.n_top = 0
    result.logprob = NAN
    if not ox_load(c, logits):
        return OX_SAMPLE_NOT_FINITE
    if s.n_logprobs >= 0:
        log_sum[0] = report_logprobs(c, s.n_logprobs, result)
        ox_load(c, logits)
    return OX_SAMPLE_OK


cdef int draw(
    const ox_sampling* s, ox_candidates* c, const float* logits, const ox_history* history, uint32_t choice,
    uint32_t position, const uint32_t* mask, double* mirostat_mu, int32_t* token
) noexcept nogil:
    cdef double temperature = 1
    cdef uint64_t point
    cdef int place = 0
    cdef int status = shape(s, c, logits, history, choice, position, mask, mirostat_mu, &temperature)
    if status != OX_SAMPLE_OK:
        return status
    if s.mirostat != 0 and s.temperature != 0:
        # Its feedback needs the exact weight of what was drawn, which must not have rounded to 0.
        ox_weigh(c, temperature)
        point = ox_multiply_high(ox_random_bits(s.seed, choice, position, OX_RANDOM_DRAW), c.total)
        place = ox_row_find(c.weights, c.n, point)
        mirostat_mu[0] = ox_mirostat_next(s, mirostat_mu[0], <double> c.weights[place] / <double> c.total)
    elif c.n > 1:
        place = ox_gumbel_draw_token(c, temperature, s.seed, choice, position)
    token[0] = c.ids[place]
    return OX_SAMPLE_OK


cdef int draw_allowed(
    const ox_sampling* s, ox_candidates* c, const float* logits, const ox_history* history, uint32_t choice,
    uint32_t position, const uint32_t* mask, double* mirostat_mu, int32_t* token
) noexcept nogil:
    """As draw() with the mask, the quick way where that gives the same."""
    cdef int32_t only = mask_only_token(mask, c.n_vocab)
    cdef int status
    if only >= 0 and (s.mirostat == 0 or s.temperature == 0) and not ox_is_banned(s, position, only):
        token[0] = only
        return OX_SAMPLE_OK
    if looks_at_one(s):
        status = draw(s, c, logits, history, choice, position, NULL, mirostat_mu, token)
        if status != OX_SAMPLE_OK or (mask[token[0] >> 5] >> (token[0] & 31)) & 1:
            return status
    # A mask edits the logits, and what is edited is loaded.
    return draw(s, c, logits, history, choice, position, mask, mirostat_mu, token)


cdef int ox_sample(
    const ox_sampling* s, ox_candidates* c, const float* logits, int n_vocab, const ox_history* history,
    uint32_t choice, uint32_t position, const uint32_t* mask, double* mirostat_mu, ox_sample_result* result
) noexcept nogil:
    cdef double log_sum = 0
    cdef int32_t token = -1
    cdef int status
    if n_vocab != c.n_vocab:
        return OX_SAMPLE_VOCAB
    status = load(s, c, logits, result, &log_sum)
    if status == OX_SAMPLE_OK and mask != NULL:
        status = draw_allowed(s, c, logits, history, choice, position, mask, mirostat_mu, &token)
    elif status == OX_SAMPLE_OK:
        status = draw(s, c, logits, history, choice, position, NULL, mirostat_mu, &token)
    if status != OX_SAMPLE_OK:
        return status
    result.token = token
    if s.n_logprobs >= 0:
        result.logprob = <float> (logits[result.token] - log_sum)
    return OX_SAMPLE_OK


cdef int raise_status(int status) except -1:
    if status == OX_SAMPLE_OK:
        return 0
    if status == OX_SAMPLE_NOT_FINITE:
        raise NumericalError("the logits contain NaN or infinity")
    if status == OX_SAMPLE_NO_TOKEN:
        raise InvalidRequestError("bans, bias and grammar leave no token to choose from", code="no_token_left")
    if status == OX_SAMPLE_NO_STATE:
        raise InvalidRequestError("mirostat needs the state of a session", param="mirostat")
    if status == OX_SAMPLE_HISTORY:
        raise ValueError("the history is longer than this working memory was made for")
    raise ValueError("the logits have another length than this working memory was made for")


cdef class SamplerMemory:
    """The working memory of one sampling thread, and the chain for Python callers. Not safe for concurrent use."""

    def __cinit__(self, int n_vocab, int n_history, *, str level=None):
        self.memory = ox_candidates_create(n_vocab, n_history)
        if self.memory == NULL:
            raise MemoryError(f"no working memory for n_vocab={n_vocab}, n_history={n_history}")
        if level is not None:
            self.memory.kernels = kernels_of(level)

    def __dealloc__(self):
        ox_candidates_free(self.memory)

    @property
    def n_vocab(self):
        return self.memory.n_vocab

    @property
    def n_history(self):
        return self.memory.n_history

    def sample(
        self, CompiledSampling sampling not None, const float[::1] logits not None, const int32_t[::1] prompt not None,
        const int32_t[::1] output not None, *, uint32_t choice, uint32_t position, const uint32_t[::1] mask=None,
        mu=None,
    ):
        cdef ox_history history = history_of(prompt, output)
        cdef ox_sample_result result
        cdef double state = 0 if mu is None else mu
        raise_status(ox_sample(
            sampling.get(), self.memory, row_of(self.memory, logits), <int> logits.shape[0], &history, choice,
            position, mask_of(self.memory, mask), NULL if mu is None else &state, &result,
        ))
        top = [(result.top_tokens[i], result.top_logprobs[i]) for i in range(result.n_top)]
        return result.token, result.logprob, top, None if mu is None else state

    def probs(
        self, CompiledSampling sampling not None, const float[::1] logits not None, const int32_t[::1] prompt not None,
        const int32_t[::1] output not None, float[::1] out not None, *, uint32_t choice, uint32_t position,
        const uint32_t[::1] mask=None, mu=None,
    ):
        cdef ox_history history = history_of(prompt, output)
        cdef ox_candidates* c = self.memory
        cdef ox_sample_result result
        cdef double state = 0 if mu is None else mu
        cdef double log_sum = 0
        cdef double temperature = 1
        cdef int i
        if out.shape[0] != c.n_vocab:
            raise ValueError(f"out has {out.shape[0]} places for {c.n_vocab} tokens")
        raise_status(load(sampling.get(), c, row_of(c, logits), &result, &log_sum))
        raise_status(shape(
            sampling.get(), c, row_of(c, logits), &history, choice, position, mask_of(c, mask),
            NULL if mu is None else &state, &temperature,
        ))
        ox_weigh(c, temperature)
        out[:] = 0
        for i in range(c.n):
            out[c.ids[i]] = <float> (<double> c.weights[i] / <double> c.total)


cdef const float* row_of(ox_candidates* c, const float[::1] logits) except NULL:
    if logits.shape[0] != c.n_vocab:
        raise_status(OX_SAMPLE_VOCAB)
    return &logits[0]


cdef ox_history history_of(const int32_t[::1] prompt, const int32_t[::1] output):
    cdef ox_history history
    history.n_prompt = <int32_t> prompt.shape[0]
    history.n_output = <int32_t> output.shape[0]
    history.prompt = &prompt[0] if history.n_prompt else NULL
    history.output = &output[0] if history.n_output else NULL
    return history


cdef const uint32_t* mask_of(ox_candidates* c, const uint32_t[::1] mask) except? NULL:
    if mask is None:
        return NULL
    if mask.shape[0] != (c.n_vocab + 31) // 32:
        raise ValueError(f"the mask has {mask.shape[0]} words, {c.n_vocab} tokens need {(c.n_vocab + 31) // 32}")
    return &mask[0]
