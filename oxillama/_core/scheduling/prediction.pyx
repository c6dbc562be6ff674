"""Follows an output through the expected text; the contract stands in the .pxd."""

from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from oxillama._core.request cimport ox_request
from oxillama._core.scheduling.row_costs cimport ox_row_costs, row_costs_worthwhile

cdef enum:
    MIN_MATCH = 3
    MAX_MATCH = 32
    MAX_SCANNED = 65536  # places that one search looks at: some 50 microseconds
    MAX_ROWS = 4         # sequences that run together; with more, a row is no longer nearly free
    NOWHERE = -1

# Of a draft to be right before anything is known, while the output follows the text and just after it has been found.
cdef double FOLLOWING = 0.9
cdef double FOUND = 0.6


ctypedef struct Prediction:
    ox_drafter base
    ox_drafter *beside
    int32_t *tokens
    int32_t n
    int32_t place          # the token of the text that is expected next, or NOWHERE
    int32_t former         # where that was before
    int32_t n_seen         # tokens of the output that place takes into account
    double chances[2]      # of a draft to be right: after a find, while following
    int32_t n_followed     # tokens since the find
    int32_t kind           # of the last drafts
    bint is_own            # the last drafts were from the text
    int32_t n_accepted     # of the request when they were made
    int32_t n_rejected


cdef ox_drafter *prediction_create(const int32_t *tokens, int32_t n, ox_drafter *beside) noexcept nogil:
    cdef Prediction *p = <Prediction *> calloc(1, sizeof(Prediction))
    if p == NULL:
        if beside != NULL:
            beside.destroy(beside)
        return NULL
    p.base.propose = propose
    p.base.destroy = destroy
    p.beside = beside
    p.n = n
    p.chances[0] = FOUND
    p.chances[1] = FOLLOWING
    p.n_followed = MIN_MATCH  # an output begins where the text does
    p.tokens = <int32_t *> malloc(max(n, 1) * sizeof(int32_t))
    if p.tokens == NULL:
        destroy(&p.base)
        return NULL
    memcpy(p.tokens, tokens, n * sizeof(int32_t))
    return &p.base


cdef void destroy(ox_drafter *drafter) noexcept nogil:
    cdef Prediction *p = <Prediction *> drafter
    if p.beside != NULL:
        p.beside.destroy(p.beside)
    free(p.tokens)
    free(p)


cdef int32_t match_before(const Prediction *p, int32_t place, const int32_t *output, int32_t n) noexcept nogil:
    """How many of the last tokens of the output stand before the place."""
    cdef int32_t length = 0, most = min(min(place, n), <int32_t> MAX_MATCH)
    while length < most and p.tokens[place - 1 - length] == output[n - 1 - length]:
        length += 1
    return length


cdef int32_t find(const Prediction *p, const int32_t *output, int32_t n) noexcept nogil:
    cdef int32_t i, place, length, longest = MIN_MATCH - 1, best = NOWHERE
    for i in range(min(p.n, <int32_t> MAX_SCANNED)):
        # From the former place to the end, then from the beginning.
        place = (p.former + i) % p.n + 1
        if p.tokens[place - 1] != output[n - 1]:
            continue
        length = match_before(p, place, output, n)
        if length > longest:
            longest = length
            best = place
            if length == MAX_MATCH:
                break
    return best


cdef void follow(Prediction *p, const int32_t *output, int32_t n) noexcept nogil:
    """Takes the new tokens of the output into account."""
    while p.n_seen < n:
        if p.place >= 0 and p.place < p.n and p.tokens[p.place] == output[p.n_seen]:
            p.place += 1
            p.n_followed += 1
        elif p.place >= 0:
            p.former = min(p.place, p.n - 1)
            p.place = NOWHERE
            p.n_followed = 0
        p.n_seen += 1
    if p.place < 0 and n >= MIN_MATCH:
        p.place = find(p, output, n)


cdef void learn(Prediction *p, const ox_request *request) noexcept nogil:
    """How the last drafts fared."""
    cdef double *chance = &p.chances[p.kind]
    cdef int32_t _
    if p.is_own:
        for _ in range(request.num_accepted_drafts - p.n_accepted):
            chance[0] += (1 - chance[0]) / 8
        if request.num_rejected_drafts > p.n_rejected:
            chance[0] -= chance[0] / 8  # behind the first that was wrong, nothing is known
    p.n_accepted = request.num_accepted_drafts
    p.n_rejected = request.num_rejected_drafts
    p.is_own = False


cdef int32_t propose(ox_drafter *drafter, const ox_request *request, ox_row_costs *costs, int32_t n_rows, int32_t most,
                     int32_t *drafts) noexcept nogil:
    cdef Prediction *p = <Prediction *> drafter
    cdef int32_t n
    learn(p, request)
    if p.n > 0 and n_rows <= MAX_ROWS:
        follow(p, request.tokens + request.n_prompt, request.n_output)
        if 0 <= p.place < p.n:
            p.kind = 1 if p.n_followed >= MIN_MATCH else 0
            n = row_costs_worthwhile(costs, n_rows, min(most, p.n - p.place), p.chances[p.kind], 0)
            if n > 0:
                memcpy(drafts, p.tokens + p.place, n * sizeof(int32_t))
                p.is_own = True
                return n
            p.chances[p.kind] += ((FOLLOWING if p.kind else FOUND) - p.chances[p.kind]) / 512
    if p.beside == NULL:
        return 0
    return p.beside.propose(p.beside, request, costs, n_rows, most, drafts)
