"""The index of a request's tokens, the search for the longest match, and how much its drafts are trusted."""

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc, free, malloc

from oxillama._core.request cimport num_known, ox_request
from oxillama._core.scheduling.row_costs cimport ox_row_costs, row_costs_worthwhile

cdef enum:
    MIN_MATCH = 3
    MAX_MATCH = 32      # longer ones are not told apart
    MAX_LENGTH = 8      # of a draft
    MAX_VISITS = 32     # of places that may match
    MAX_ADDED = 8192    # tokens that one call adds to the index: some 50 microseconds
    MAX_ROWS = 4        # sequences that run together; with more, a row is no longer nearly free
    LONG_MATCH = 6
    MAX_HEADS = 1 << 16

# Chances that a draft is right before anything is known, after a short and a long match; documentation and edited code
# of SmolLM2 had 0.4 and 0.9.
cdef double SHORT_CHANCE = 0.5
cdef double LONG_CHANCE = 0.8


ctypedef struct Lookup:
    ox_drafter base
    int32_t n_added           # n-grams that end at or before this place are in the index
    uint32_t mask             # of a hash
    int32_t *heads            # [mask + 1]: the last place behind an n-gram with this hash; 0: none
    int32_t *previous         # [n_tokens + 1]: the place before it
    double chances[2]         # of a draft to be right, by the length of the match
    int32_t kind              # of the last match
    int32_t n_accepted        # of the request when it was made
    int32_t n_rejected


cdef ox_drafter *prompt_lookup_create(int32_t n_tokens) noexcept nogil:
    cdef Lookup *lookup = <Lookup *> calloc(1, sizeof(Lookup))
    cdef uint32_t n_heads = 256
    if lookup == NULL:
        return NULL
    while n_heads < MAX_HEADS and n_heads < <uint32_t> n_tokens:
        n_heads *= 2
    lookup.base.propose = propose
    lookup.base.destroy = destroy
    lookup.mask = n_heads - 1
    lookup.chances[0] = SHORT_CHANCE
    lookup.chances[1] = LONG_CHANCE
    lookup.n_added = MIN_MATCH - 1
    # Not touched before they are used, so that an unbounded request costs address space.
    lookup.heads = <int32_t *> calloc(n_heads, sizeof(int32_t))
    lookup.previous = <int32_t *> malloc((<size_t> n_tokens + 1) * sizeof(int32_t))
    if lookup.heads == NULL or lookup.previous == NULL:
        destroy(&lookup.base)
        return NULL
    return &lookup.base


cdef void destroy(ox_drafter *drafter) noexcept nogil:
    cdef Lookup *lookup = <Lookup *> drafter
    free(lookup.heads)
    free(lookup.previous)
    free(lookup)


cdef uint32_t hash_before(const int32_t *tokens, int32_t place) noexcept nogil:
    cdef uint32_t h = <uint32_t> tokens[place - 1] * 0x9E3779B1u
    h = (h ^ (h >> 15)) + <uint32_t> tokens[place - 2]
    h = h * 0x85EBCA77u
    h = (h ^ (h >> 13)) + <uint32_t> tokens[place - 3]
    h = h * 0xC2B2AE3Du
    return h ^ (h >> 16)


cdef void add(Lookup *lookup, const int32_t *tokens, int32_t n) noexcept nogil:
    """Adds the n-grams that end before place n, at most MAX_ADDED of them."""
    cdef int32_t place, last = min(n, lookup.n_added + <int32_t> MAX_ADDED)
    cdef uint32_t head
    for place in range(lookup.n_added + 1, last):
        head = hash_before(tokens, place) & lookup.mask
        lookup.previous[place] = lookup.heads[head]
        lookup.heads[head] = place
    lookup.n_added = max(lookup.n_added, last - 1)


cdef int32_t find(const Lookup *lookup, const int32_t *tokens, int32_t n, int32_t *longest) noexcept nogil:
    """The place behind the longest match of the last tokens, of equal ones the latest; 0: there is none."""
    cdef int32_t length, visits = 0, best = 0, place
    longest[0] = MIN_MATCH - 1
    if n < MIN_MATCH:
        return 0
    place = lookup.heads[hash_before(tokens, n) & lookup.mask]
    while place > 0 and visits < MAX_VISITS:
        length = 0
        while length < min(place, <int32_t> MAX_MATCH) and tokens[place - 1 - length] == tokens[n - 1 - length]:
            length += 1
        if length > longest[0]:
            longest[0] = length
            best = place
            if length == MAX_MATCH:
                break
        place = lookup.previous[place]
        visits += 1
    return best


cdef void learn(Lookup *lookup, const ox_request *request) noexcept nogil:
    """How the drafts of the last match fared."""
    cdef double *chance = &lookup.chances[lookup.kind]
    cdef int32_t _
    for _ in range(request.num_accepted_drafts - lookup.n_accepted):
        chance[0] += (1 - chance[0]) / 8
    if request.num_rejected_drafts > lookup.n_rejected:
        chance[0] -= chance[0] / 8  # behind the first that was wrong, nothing is known
    lookup.n_accepted = request.num_accepted_drafts
    lookup.n_rejected = request.num_rejected_drafts


cdef int32_t propose(ox_drafter *drafter, const ox_request *request, ox_row_costs *costs, int32_t n_rows, int32_t most,
                     int32_t *drafts) noexcept nogil:
    cdef Lookup *lookup = <Lookup *> drafter
    cdef const int32_t *tokens = request.tokens
    cdef int32_t i, n, place, length, known = num_known(request)
    cdef double *chance
    learn(lookup, request)
    if n_rows > MAX_ROWS:
        return 0
    add(lookup, tokens, known)
    place = find(lookup, tokens, known, &length)
    if place == 0:
        return 0
    lookup.kind = 1 if length >= LONG_MATCH else 0
    n = min(min(most, <int32_t> MAX_LENGTH), length - MIN_MATCH + 2)
    n = row_costs_worthwhile(costs, n_rows, n, lookup.chances[lookup.kind], 0)
    if n == 0:
        # Texts change: what has failed is tried again now and then.
        chance = &lookup.chances[lookup.kind]
        chance[0] += ((LONG_CHANCE if lookup.kind else SHORT_CHANCE) - chance[0]) / 512
    for i in range(n):
        # What follows may reach into the draft itself: a text that repeats is continued.
        drafts[i] = tokens[place + i] if place + i < known else drafts[place + i - known]
    return n
