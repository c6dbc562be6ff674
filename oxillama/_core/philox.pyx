"""Philox4x32-10, the random numbers of the sampler; keeps no state.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    ROUNDS = 10

# Multipliers and Weyl increments of the paper, section 3.
cdef uint64_t MULTIPLIER_0 = 0xD2511F53
cdef uint64_t MULTIPLIER_1 = 0xCD9E8D57
cdef uint32_t WEYL_0 = 0x9E3779B9
cdef uint32_t WEYL_1 = 0xBB67AE85


cdef void generate(uint32_t* block, uint32_t key_0, uint32_t key_1) noexcept nogil:
    """Turn the counter ``block`` (four words) into four random words, in place."""
    cdef uint64_t product_0, product_1
    cdef int _round
    for _round in range(ROUNDS):
        product_0 = MULTIPLIER_0 * block[0]
        product_1 = MULTIPLIER_1 * block[2]
        block[0] = <uint32_t> (product_1 >> 32) ^ block[1] ^ key_0
        block[1] = <uint32_t> product_1
        block[2] = <uint32_t> (product_0 >> 32) ^ block[3] ^ key_1
        block[3] = <uint32_t> product_0
        key_0 += WEYL_0
        key_1 += WEYL_1


cdef uint64_t ox_random_bits(uint64_t seed, uint32_t choice, uint32_t position, uint32_t stage) noexcept nogil:
    cdef uint32_t[4] block
    block[0] = position
    block[1] = choice
    block[2] = stage
    block[3] = 0
    generate(block, <uint32_t> seed, <uint32_t> (seed >> 32))
    return (<uint64_t> block[1] << 32) | block[0]


cdef double ox_random_uniform(uint64_t seed, uint32_t choice, uint32_t position, uint32_t stage) noexcept nogil:
    return (ox_random_bits(seed, choice, position, stage) >> 11) * (1.0 / 9007199254740992.0)


def philox4x32(counter, key):
    """Return the four words that Philox4x32-10 makes of four counter words and two key words, all 32-bit."""
    cdef uint32_t[4] block
    block[0], block[1], block[2], block[3] = counter
    key_0, key_1 = key
    generate(block, key_0, key_1)
    return block[0], block[1], block[2], block[3]


def random_bits(seed, choice, position, stage):
    """Return the 64 bits that the sampler uses at ``position`` of ``choice`` for ``stage``."""
    return ox_random_bits(seed, choice, position, stage)
