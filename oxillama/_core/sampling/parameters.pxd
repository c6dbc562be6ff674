"""The sampling parameters of one request as a C struct."""

from libc.stdint cimport int32_t, uint64_t

ctypedef struct ox_logit_bias:
    int32_t token
    float bias

# One allocation holds the struct and everything its pointers point to. It is immutable once made, so threads may
# share it. Whoever calls ox_sampling_copy owns the copy and ends it with one ox_sampling_free; a request takes such a
# copy at submit and so outlives every Python object. Token ids were checked to be >= 0; the sampler skips those that
# the vocabulary does not have.
ctypedef struct ox_sampling:
    size_t n_bytes  # of the whole allocation
    uint64_t seed
    double temperature  # 0: greedy
    double top_p
    double min_p
    double typical_p
    double top_a
    double top_n_sigma
    double epsilon_cutoff
    double eta_cutoff
    double xtc_probability
    double xtc_threshold
    double dry_multiplier
    double dry_base
    double repetition_penalty
    double presence_penalty
    double frequency_penalty
    double dynatemp_range
    double dynatemp_exponent
    double mirostat_tau  # bits
    double mirostat_eta
    int32_t top_k  # 0: off
    int32_t dry_allowed_length
    int32_t dry_penalty_last_n  # -1: all, 0: off
    int32_t repeat_last_n  # -1: all, 0: off
    int32_t mirostat  # 0, 1, 2
    int32_t min_tokens
    int32_t ignore_eos
    int32_t n_logprobs  # alternatives wanted; -1: no logprobs at all
    int32_t n_biases
    int32_t n_banned
    int32_t n_eog
    int32_t n_ends
    int32_t n_single_breakers
    int32_t n_breakers
    const ox_logit_bias* biases  # [n_biases]
    const int32_t* banned  # [n_banned]
    const int32_t* ends  # [n_ends], banned before min_tokens; the first n_eog are also banned by ignore_eos
    const int32_t* single_breakers  # [n_single_breakers], ascending: DRY breakers of one token
    # DRY breakers of two tokens or more, none of which ends with another or a single one; ascending, read backwards.
    const int32_t* breaker_starts  # [n_breakers + 1], into breaker_tokens
    const int32_t* breaker_tokens

# NULL when there is no memory.
cdef ox_sampling* ox_sampling_copy(const ox_sampling* source) noexcept nogil
cdef void ox_sampling_free(ox_sampling* sampling) noexcept nogil


cdef class CompiledSampling:
    cdef ox_sampling* sampling  # owned

    # Valid as long as this object; raises TypeError where __init__ never ran.
    cdef const ox_sampling* get(self) except NULL
