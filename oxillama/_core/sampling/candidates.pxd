"""The tokens still in the running, and the working memory of one sampling thread."""

from libc.stdint cimport int32_t, uint32_t, uint64_t

from oxillama._core.network.kernels cimport ox_kernels

cdef extern from "sampling/rows.h" nogil:
    enum:
        OX_ROW_BLOCK
        OX_ROW_MAX_VOCAB
    const double OX_WEIGHT_ONE
    int ox_row_n_blocks(int n)
    int ox_row_scan(const float* x, int n, float* block_max)
    float ox_row_max(const float* x, int n)
    void ox_row_codes(const float* x, int n, uint32_t* codes)
    float ox_code_value(uint32_t code)
    uint32_t ox_row_least(const uint32_t* codes, int n)
    void ox_row_distance_codes(const float* x, int n, double centre, uint32_t* codes)
    uint64_t ox_row_weights(const float* x, int n, float max, float inverse_temperature, uint64_t* weights)
    uint64_t ox_row_mass(const float* x, int n, float max)
    void ox_row_moments(const float* x, int n, float max, double* total, double* total_squares)
    double ox_row_weighted_sum(const float* x, const uint64_t* weights, int n, float max)
    int ox_row_find(const uint64_t* weights, int n, uint64_t point)
    uint64_t ox_multiply_high(uint64_t a, uint64_t b)

# Working memory, one per sampling thread, sized once. Nothing in it carries over from one sample to the next.
#
# The candidates are n tokens in ascending id order; "first" and "best" mean the order (logit descending, id
# ascending). ids and x point to the buffers below or, before the first filter, to the identity and to the caller's
# logits, which are never written.
ctypedef struct ox_candidates:
    const ox_kernels* kernels  # the active level's, unless a test has chosen another
    int32_t n_vocab
    int32_t n_history  # capacity of the two history buffers, in tokens
    int32_t n
    bint whole  # the candidates are the whole vocabulary, and block_max is theirs
    float max
    const int32_t* ids  # [n]
    const float* x  # [n]
    const float* loaded  # [n_vocab], the argument of the last ox_load
    uint64_t total  # sum of the weights, where a stage has filled them
    uint64_t* weights  # [n_vocab]
    int32_t* identity  # [n_vocab]
    int32_t* id_buffer  # [n_vocab]
    float* x_buffer  # [n_vocab]
    float* edited  # [n_vocab], the logits after penalties
    uint32_t* codes  # [n_vocab]
    int32_t* places  # [n_vocab]
    int32_t* marks  # [n_vocab], all zero between uses
    float* block_max  # [n_vocab / OX_ROW_BLOCK, rounded up]
    uint64_t* histogram  # [2048]
    int32_t* recent  # [n_history], newest first
    int32_t* matches  # [n_history]

# NULL when there is no memory, or n_vocab is not in 1..OX_ROW_MAX_VOCAB, or n_history is negative.
cdef ox_candidates* ox_candidates_create(int n_vocab, int n_history) noexcept nogil
cdef void ox_candidates_free(ox_candidates* candidates) noexcept nogil

# Make the whole vocabulary the candidates. Values are finite or -infinity (banned; drop them with ox_keep_above).
# Returns 0 if a value is not finite.
cdef bint ox_load(ox_candidates* candidates, const float* logits) noexcept nogil

# Go back to all tokens of the last ox_load that are not banned.
cdef void ox_reload(ox_candidates* candidates) noexcept nogil

# Keep the tokens whose logit is at least threshold, always those with the best logit.
cdef void ox_keep_above(ox_candidates* candidates, double threshold) noexcept nogil

# How many blocks of the whole vocabulary have a token of at least this logit.
cdef int ox_count_blocks_above(const ox_candidates* candidates, double threshold) noexcept nogil

# Keep the first k (k >= 1).
cdef void ox_keep_first(ox_candidates* candidates, int k) noexcept nogil

# Keep the shortest run of tokens, in the order of codes (ascending, ties by id), whose weights reach target.
# Without weights every token weighs 1. target is in 1..total.
cdef void ox_keep_mass(ox_candidates* candidates, const uint32_t* codes, const uint64_t* weights,
                       uint64_t target) noexcept nogil

# Keep what is below threshold, and of the rest only the last.
cdef void ox_keep_tail(ox_candidates* candidates, double threshold) noexcept nogil

# Fill the weights at this temperature, and total.
cdef void ox_weigh(ox_candidates* candidates, double temperature) noexcept nogil

# log of the sum of exp(x), and the entropy in nats, at temperature 1; both need ox_weigh(candidates, 1) just before.
cdef double ox_log_sum_exp(const ox_candidates* candidates) noexcept nogil
cdef double ox_entropy(const ox_candidates* candidates) noexcept nogil

# The places of the candidates, first to last, into candidates.places; for a small n.
cdef void ox_rank(ox_candidates* candidates) noexcept nogil
