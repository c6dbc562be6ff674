"""Counter-based random numbers: every value is a pure function of its arguments."""

from libc.stdint cimport uint32_t, uint64_t

# What a number is for. Each use has its own stream, so that adding one never shifts another.
cdef enum ox_random_stage:
    OX_RANDOM_DRAW = 0  # one number per draw: mirostat
    OX_RANDOM_XTC = 1
    OX_RANDOM_GUMBEL = 2  # one word per token of a draw: the high half of its bits
    OX_RANDOM_GUMBEL_LOW = 3

# 64 random bits for one use of one token: position counts the generated tokens of the choice from 0.
cdef uint64_t ox_random_bits(uint64_t seed, uint32_t choice, uint32_t position, uint32_t stage) noexcept nogil

# The same bits as a double in [0, 1), a multiple of 2^-53.
cdef double ox_random_uniform(uint64_t seed, uint32_t choice, uint32_t position, uint32_t stage) noexcept nogil
