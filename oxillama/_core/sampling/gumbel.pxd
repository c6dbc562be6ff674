"""The draw of a token by Gumbel-max: noise that belongs to each token, and the candidate with the highest score."""

from libc.stdint cimport uint32_t, uint64_t

from oxillama._core.sampling.candidates cimport ox_candidates

# The place of the drawn candidate. temperature is above 0. The draw is a function of the seed, choice, position and of
# the tokens and logits of the candidates: not of their order, nor of the rest of the memory; csrc/sampling/gumbel.h.
cdef int ox_gumbel_draw_token(const ox_candidates* candidates, double temperature, uint64_t seed, uint32_t choice,
                              uint32_t position) noexcept nogil
