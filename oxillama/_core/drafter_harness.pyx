"""A drafter that knows the answer and lies at will, for tests of the verification. Not used by the engine."""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from oxillama._core.handle cimport Handle
from oxillama._core.philox cimport OX_RANDOM_DRAW, ox_random_bits, ox_random_uniform
from oxillama._core.request cimport ox_drafter, ox_request


cdef struct KnowingDrafter:
    ox_drafter base
    uint64_t seed
    uint32_t n_drawn        # random numbers
    double lie              # probability of a wrong token
    int32_t n_tokens        # random ones are in [0, n_tokens)
    int32_t n_answer
    int32_t answer[1]       # [n_answer]


cdef uint64_t random_bits(KnowingDrafter *drafter) noexcept nogil:
    drafter.n_drawn += 1
    return ox_random_bits(drafter.seed, 0, drafter.n_drawn, OX_RANDOM_DRAW)


cdef double uniform(KnowingDrafter *drafter) noexcept nogil:
    drafter.n_drawn += 1
    return ox_random_uniform(drafter.seed, 0, drafter.n_drawn, OX_RANDOM_DRAW)


cdef int32_t propose(ox_drafter *base, const ox_request *request, int32_t most, int32_t *drafts) noexcept nogil:
    cdef KnowingDrafter *drafter = <KnowingDrafter *> base
    cdef int32_t i, place, n = <int32_t> (random_bits(drafter) % <uint64_t> (most + 1))
    for i in range(n):
        place = request.n_output + i
        drafts[i] = <int32_t> (random_bits(drafter) % <uint64_t> drafter.n_tokens)
        if place < drafter.n_answer and uniform(drafter) >= drafter.lie:
            drafts[i] = drafter.answer[place]
    return n


cdef void destroy(ox_drafter *base) noexcept nogil:
    free(base)


def attach_drafter(Handle handle not None, answer, *, double lie, int32_t n_tokens, uint64_t seed=0):
    """Lets a request that was not submitted yet have drafts of random length: tokens of its answer, as far as that is
    given, each with probability `lie` replaced by a random one in [0, n_tokens), which may be beyond the vocabulary."""
    cdef Py_ssize_t i, n = len(answer)
    if handle.request.drafter != NULL:
        handle.request.drafter.destroy(handle.request.drafter)
        handle.request.drafter = NULL
    cdef KnowingDrafter *drafter = <KnowingDrafter *> malloc(sizeof(KnowingDrafter) + n * sizeof(int32_t))
    if drafter == NULL:
        raise MemoryError
    drafter.base.propose = propose
    drafter.base.destroy = destroy
    drafter.seed = seed
    drafter.n_drawn = 0
    drafter.lie = lie
    drafter.n_tokens = n_tokens
    drafter.n_answer = <int32_t> n
    for i in range(n):
        drafter.answer[i] = answer[i]
    handle.request.drafter = &drafter.base


def draft_counts(Handle handle not None):
    """(accepted, rejected) drafts of a finished request."""
    return handle.request.num_accepted_drafts, handle.request.num_rejected_drafts
