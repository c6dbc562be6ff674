"""The stages that remove candidates; each leaves at least one."""

from oxillama._core.sampling.candidates cimport ox_candidates
from oxillama._core.sampling.parameters cimport ox_sampling

# top-n-sigma, top-k, typical, top-p, min-p, top-a, epsilon, eta; in this order. Probabilities are those at
# temperature 1 among the candidates that the stage before left.
cdef void ox_truncate(ox_candidates* candidates, const ox_sampling* sampling) noexcept nogil

# Mirostat in their place; mu is the running target of the sequence, in bits.
cdef void ox_truncate_mirostat(ox_candidates* candidates, const ox_sampling* sampling, double mu) noexcept nogil

# mu after a token of this probability was drawn.
cdef double ox_mirostat_next(const ox_sampling* sampling, double mu, double probability) noexcept nogil

# Exclude top choices.
cdef void ox_exclude_top(ox_candidates* candidates, double threshold) noexcept nogil
