"""The stages that remove candidates: which tokens a cut keeps, expressed through the filters of ``candidates``.

Sources: top-n-sigma, C. Tang et al., arXiv:2411.07641; top-k, A. Fan et al., arXiv:1805.04833; typical, C. Meister et
al., arXiv:2202.00666; top-p, A. Holtzman et al., arXiv:1904.09751; min-p, N. Nguyen et al., arXiv:2407.01082; top-a,
B. Peng's RWKV sampler notes; epsilon and eta, J. Hewitt et al., arXiv:2210.15191; XTC, P. Weidmann's description in
oobabooga/text-generation-webui pull request 6335; mirostat, S. Basu et al., arXiv:2007.14966.
"""

from libc.math cimport INFINITY, ceil, fabs, isfinite, log, log2, pow, sqrt
from libc.stdint cimport uint64_t

from oxillama._core.sampling.candidates cimport (
    ox_count_blocks_above,
    ox_entropy,
    ox_keep_above,
    ox_keep_first,
    ox_keep_mass,
    ox_keep_tail,
    ox_log_sum_exp,
    ox_rank,
    ox_reload,
    ox_row_codes,
    ox_row_distance_codes,
    ox_row_mass,
    ox_row_moments,
    ox_row_n_blocks,
    ox_weigh,
)

cdef enum:
    MIROSTAT_TOKENS = 100  # the paper's m: tokens that the estimate of the Zipf exponent looks at


cdef double HEAD_NATS = 10.0


cdef inline uint64_t share(uint64_t total, double fraction) noexcept nogil:
    """The mass that a set must reach, at least 1 so that a set is never empty."""
    cdef uint64_t target = <uint64_t> ceil(fraction * <double> total)
    return min(max(target, <uint64_t> 1), total)


cdef void keep_top_n_sigma(ox_candidates* c, double n_sigma) noexcept nogil:
    cdef double total, total_squares, mean, variance
    ox_row_moments(c.x, c.n, c.max, &total, &total_squares)
    mean = total / c.n
    variance = max(0.0, total_squares / c.n - mean * mean)
    ox_keep_above(c, c.max - n_sigma * sqrt(variance))


cdef void keep_typical(ox_candidates* c, double mass) noexcept nogil:
    ox_weigh(c, 1)
    # -log p - entropy = (log_sum_exp - entropy) - x
    ox_row_distance_codes(c.x, c.n, ox_log_sum_exp(c) - ox_entropy(c), c.codes)
    ox_keep_mass(c, c.codes, c.weights, share(c.total, mass))


cdef void keep_top_p(ox_candidates* c, double mass) noexcept nogil:
    cdef double head = c.max - HEAD_NATS
    cdef uint64_t target
    # With a peaked distribution the cut is far up: when the few tokens of the head already reach the mass, only they
    # need to be weighed and ranked. Masses are exact, so both ways keep the same tokens.
    if c.whole and 4 * ox_count_blocks_above(c, head) <= ox_row_n_blocks(c.n):
        target = share(ox_row_mass(c.x, c.n, c.max), mass)
        ox_keep_above(c, head)
        ox_weigh(c, 1)
        if c.total >= target:
            ox_row_codes(c.x, c.n, c.codes)
            ox_keep_mass(c, c.codes, c.weights, target)
            return
        ox_reload(c)
    ox_weigh(c, 1)
    ox_row_codes(c.x, c.n, c.codes)
    ox_keep_mass(c, c.codes, c.weights, share(c.total, mass))


cdef void keep_top_a(ox_candidates* c, double factor) noexcept nogil:
    cdef double log_best
    ox_weigh(c, 1)
    log_best = c.max - ox_log_sum_exp(c)
    ox_keep_above(c, c.max + log(factor) + log_best)


cdef void keep_epsilon(ox_candidates* c, double epsilon) noexcept nogil:
    ox_weigh(c, 1)
    ox_keep_above(c, ox_log_sum_exp(c) + log(epsilon))


cdef void keep_eta(ox_candidates* c, double epsilon) noexcept nogil:
    ox_weigh(c, 1)
    ox_keep_above(c, ox_log_sum_exp(c) + min(log(epsilon), 0.5 * log(epsilon) - ox_entropy(c)))


cdef void ox_truncate(ox_candidates* c, const ox_sampling* s) noexcept nogil:
    if s.top_n_sigma > 0:
        keep_top_n_sigma(c, s.top_n_sigma)
    if s.top_k > 0:
        ox_keep_first(c, s.top_k)
    if s.typical_p < 1:
        keep_typical(c, s.typical_p)
    if s.top_p < 1:
        keep_top_p(c, s.top_p)
    if s.min_p > 0:
        ox_keep_above(c, c.max + log(s.min_p))
    if s.top_a > 0:
        keep_top_a(c, s.top_a)
    if s.epsilon_cutoff > 0:
        keep_epsilon(c, s.epsilon_cutoff)
    if s.eta_cutoff > 0:
        keep_eta(c, s.eta_cutoff)


cdef int mirostat_count(ox_candidates* c, double mu) noexcept nogil:
    """The k of mirostat 1: how many tokens of a Zipf law with the estimated exponent have a surprise up to ``mu``."""
    cdef double slope = 0
    cdef double scale = 0
    cdef double step, exponent, excess, count
    cdef double n_vocab = c.n_vocab
    cdef int n = c.n
    cdef int i
    ox_keep_first(c, MIROSTAT_TOKENS)
    ox_rank(c)
    for i in range(c.n - 1):
        step = log((i + 2.0) / (i + 1.0))
        slope += step * (<double> c.x[c.places[i]] - <double> c.x[c.places[i + 1]])
        scale += step * step
    if scale == 0:
        return 1
    exponent = slope / scale
    excess = exponent - 1
    if exponent <= 0:
        return n  # a flat head, every token of it is alike
    if fabs(excess) < 1e-9:
        count = pow(2, mu) / log(n_vocab)  # the limit of the quotient below
    else:
        count = pow(excess * pow(2, mu) / (1 - pow(n_vocab, -excess)), 1 / exponent)
    if not isfinite(count) or count >= n:
        return n
    return max(1, <int> count)


cdef void ox_truncate_mirostat(ox_candidates* c, const ox_sampling* s, double mu) noexcept nogil:
    cdef int count
    if s.mirostat == 1:
        count = mirostat_count(c, mu)
        ox_reload(c)  # the estimate has looked at the head only
        ox_keep_first(c, count)
    else:
        ox_weigh(c, 1)
        ox_keep_above(c, ox_log_sum_exp(c) - mu * log(2.0))


cdef double ox_mirostat_next(const ox_sampling* s, double mu, double probability) noexcept nogil:
    return mu - s.mirostat_eta * (-log2(probability) - s.mirostat_tau)


cdef void ox_exclude_top(ox_candidates* c, double threshold) noexcept nogil:
    ox_weigh(c, 1)
    ox_keep_tail(c, ox_log_sum_exp(c) + log(threshold) if threshold > 0 else -INFINITY)
