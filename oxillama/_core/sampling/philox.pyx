"""Random numbers from a counter for the sampler; keeps no state. The generator is csrc/sampling/philox.h."""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from "sampling/philox.h" nogil:
    void ox_philox(uint32_t *words, uint32_t key_0, uint32_t key_1)


cdef uint64_t ox_random_bits(uint64_t seed, uint32_t choice, uint32_t position, uint32_t stage) noexcept nogil:
    cdef uint32_t[4] block
    block[0] = position
    block[1] = choice
    block[2] = stage
    block[3] = 0
    ox_philox(block, <uint32_t> seed, <uint32_t> (seed >> 32))
    return (<uint64_t> block[1] << 32) | block[0]


cdef double ox_random_uniform(uint64_t seed, uint32_t choice, uint32_t position, uint32_t stage) noexcept nogil:
    return (ox_random_bits(seed, choice, position, stage) >> 11) * (1.0 / 9007199254740992.0)


def philox4x32(counter, key):
    """Return the four words that Philox4x32-10 makes of four counter words and two key words, all 32-bit."""
    cdef uint32_t[4] block
    block[0], block[1], block[2], block[3] = counter
    key_0, key_1 = key
    ox_philox(block, key_0, key_1)
    return block[0], block[1], block[2], block[3]


def random_bits(seed, choice, position, stage):
    """Return the 64 bits that the sampler uses at ``position`` of ``choice`` for ``stage``."""
    return ox_random_bits(seed, choice, position, stage)
