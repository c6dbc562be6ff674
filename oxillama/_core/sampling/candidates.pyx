"""The tokens still in the running: loading, exact weights, and filters that select without sorting.

Which filters run, and with what numbers, is decided in ``truncation`` and ``sampler``.
"""

from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, log, nextafterf
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from oxillama._core.network.kernels cimport active_kernels

cdef enum:
    DIGIT_VALUES = 2048


cdef ox_candidates* ox_candidates_create(int n_vocab, int n_history) noexcept nogil:
    cdef ox_candidates* c
    cdef int i
    if n_vocab < 1 or n_vocab > OX_ROW_MAX_VOCAB or n_history < 0:
        return NULL
    c = <ox_candidates*> calloc(1, sizeof(ox_candidates))
    if c == NULL:
        return NULL
    c.kernels = active_kernels()
    c.n_vocab = n_vocab
    c.n_history = n_history
    c.weights = <uint64_t*> malloc(n_vocab * sizeof(uint64_t))
    c.identity = <int32_t*> malloc(n_vocab * sizeof(int32_t))
    c.id_buffer = <int32_t*> malloc(n_vocab * sizeof(int32_t))
    c.x_buffer = <float*> malloc(n_vocab * sizeof(float))
    c.edited = <float*> malloc(n_vocab * sizeof(float))
    c.codes = <uint32_t*> malloc(n_vocab * sizeof(uint32_t))
    c.places = <int32_t*> malloc(n_vocab * sizeof(int32_t))
    c.marks = <int32_t*> calloc(n_vocab, sizeof(int32_t))
    c.block_max = <float*> malloc(ox_row_n_blocks(n_vocab) * sizeof(float))
    c.histogram = <uint64_t*> malloc(DIGIT_VALUES * sizeof(uint64_t))
    c.recent = <int32_t*> malloc(max(n_history, 1) * sizeof(int32_t))
    c.matches = <int32_t*> malloc(max(n_history, 1) * sizeof(int32_t))
    if (
        c.weights == NULL or c.identity == NULL or c.id_buffer == NULL or c.x_buffer == NULL or c.edited == NULL
        or c.codes == NULL or c.places == NULL or c.marks == NULL or c.block_max == NULL or c.histogram == NULL
        or c.recent == NULL or c.matches == NULL
    ):
        ox_candidates_free(c)
        return NULL
    for i in range(n_vocab):
        c.identity[i] = i
    return c


cdef void ox_candidates_free(ox_candidates* c) noexcept nogil:
    if c == NULL:
        return
    free(c.weights)
    free(c.identity)
    free(c.id_buffer)
    free(c.x_buffer)
    free(c.edited)
    free(c.codes)
    free(c.places)
    free(c.marks)
    free(c.block_max)
    free(c.histogram)
    free(c.recent)
    free(c.matches)
    free(c)


cdef bint ox_load(ox_candidates* c, const float* logits) noexcept nogil:
    cdef bint finite = ox_row_scan(logits, c.n_vocab, c.block_max)
    c.n = c.n_vocab
    c.whole = True
    c.ids = c.identity
    c.x = logits
    c.loaded = logits
    c.max = ox_row_max(c.block_max, ox_row_n_blocks(c.n_vocab))
    return finite


cdef void settle(ox_candidates* c, int n) noexcept nogil:
    """Take over the ``n`` tokens that a filter has written to the buffers."""
    c.n = n
    c.whole = False
    c.ids = c.id_buffer
    c.x = c.x_buffer
    c.max = ox_row_max(c.x, n)


cdef int copy_above(ox_candidates* c, int start, int stop, float threshold, int kept) noexcept nogil:
    cdef int i
    cdef int32_t token
    cdef float value
    # Locals: for all the compiler knows, the writes below could change what c points to.
    cdef const int32_t *ids = c.ids
    cdef const float *x = c.x
    cdef int32_t *to_ids = c.id_buffer
    cdef float *to_x = c.x_buffer
    for i in range(start, stop):
        token = ids[i]
        value = x[i]
        to_ids[kept] = token
        to_x[kept] = value
        kept += value >= threshold
        # The write above may land one past the last token kept, never past the token just read.
    return kept


cdef void ox_keep_above(ox_candidates* c, double threshold) noexcept nogil:
    cdef int kept = 0
    cdef int block
    cdef float bound
    if not threshold <= c.max:  # NaN too: a set is never empty for want of a number
        threshold = c.max
    if threshold < -FLT_MAX:
        threshold = -FLT_MAX  # -infinity marks banned tokens and never passes
    # Round towards +infinity, so that x >= bound in float32 says the same as x >= threshold in double.
    bound = <float> threshold
    if bound < threshold:
        bound = nextafterf(bound, INFINITY)
    if c.whole:
        for block in range(ox_row_n_blocks(c.n)):
            if c.block_max[block] >= bound:
                kept = copy_above(c, block * OX_ROW_BLOCK, min(c.n, (block + 1) * OX_ROW_BLOCK), bound, kept)
    else:
        kept = copy_above(c, 0, c.n, bound, 0)
    settle(c, kept)


cdef void ox_reload(ox_candidates* c) noexcept nogil:
    if not ox_load(c, c.loaded):
        ox_keep_above(c, -FLT_MAX)


cdef int ox_count_blocks_above(const ox_candidates* c, double threshold) noexcept nogil:
    cdef int n = 0
    cdef int block
    for block in range(ox_row_n_blocks(c.n_vocab)):
        n += c.block_max[block] >= threshold
    return n


cdef int digit_reaching(const uint64_t* histogram, uint64_t target, uint64_t* before) noexcept nogil:
    """The first digit whose cumulative mass reaches ``target``; the mass of the digits below it goes to ``before``."""
    cdef uint64_t mass = 0
    cdef int digit
    for digit in range(DIGIT_VALUES - 1):
        if mass + histogram[digit] >= target:
            break
        mass += histogram[digit]
    else:
        digit = DIGIT_VALUES - 1
    before[0] = mass
    return digit


cdef uint32_t code_reaching(
    ox_candidates* c, const uint32_t* codes, const uint64_t* weights, int n, uint64_t* target
) noexcept nogil:
    """The code at which the mass, in ascending order of codes, reaches ``target``.

    A radix selection from the most significant digit (11, 11, 10 bits); only the last digit's tokens are looked at
    again. ``target`` becomes what the tokens of that very code have to contribute.
    """
    cdef uint64_t before
    cdef uint32_t prefix
    cdef int32_t place
    cdef int i, n_places, n_left, digit
    memset(c.histogram, 0, DIGIT_VALUES * sizeof(uint64_t))
    for i in range(n):
        c.histogram[codes[i] >> 21] += weights[i] if weights != NULL else 1
    digit = digit_reaching(c.histogram, target[0], &before)
    target[0] -= before
    prefix = <uint32_t> digit
    n_places = 0
    for i in range(n):
        c.places[n_places] = i
        n_places += codes[i] >> 21 == prefix

    memset(c.histogram, 0, DIGIT_VALUES * sizeof(uint64_t))
    for i in range(n_places):
        place = c.places[i]
        c.histogram[(codes[place] >> 10) & 2047] += weights[place] if weights != NULL else 1
    digit = digit_reaching(c.histogram, target[0], &before)
    target[0] -= before
    prefix = prefix << 11 | <uint32_t> digit
    n_left = 0
    for i in range(n_places):
        place = c.places[i]
        c.places[n_left] = place
        n_left += codes[place] >> 10 == prefix

    memset(c.histogram, 0, DIGIT_VALUES * sizeof(uint64_t))
    for i in range(n_left):
        place = c.places[i]
        c.histogram[codes[place] & 1023] += weights[place] if weights != NULL else 1
    digit = digit_reaching(c.histogram, target[0], &before)
    target[0] -= before
    return prefix << 10 | <uint32_t> digit


cdef void ox_keep_mass(
    ox_candidates* c, const uint32_t* codes, const uint64_t* weights, uint64_t target
) noexcept nogil:
    cdef uint64_t missing = target
    cdef uint32_t cut = code_reaching(c, codes, weights, c.n, &missing)
    cdef uint64_t mass = 0
    cdef uint64_t weight
    cdef uint32_t code
    cdef int32_t token
    cdef float value
    cdef int kept = 0
    cdef int block, start, stop, i
    cdef bint tie
    # Locals for the same reason as in copy_above.
    cdef int n = c.n
    cdef const int32_t *ids = c.ids
    cdef const float *x = c.x
    cdef int32_t *to_ids = c.id_buffer
    cdef float *to_x = c.x_buffer
    for block in range(ox_row_n_blocks(n)):
        start = block * OX_ROW_BLOCK
        stop = min(n, start + OX_ROW_BLOCK)
        # Where few are kept, most blocks have none; where many are, a branch for each would be guessed wrong.
        code = ox_row_least(codes + start, stop - start)
        if code > cut or (code == cut and mass >= missing):
            continue
        for i in range(start, stop):
            code = codes[i]
            weight = weights[i] if weights != NULL else 1
            token = ids[i]
            value = x[i]
            to_ids[kept] = token
            to_x[kept] = value
            tie = code == cut
            kept += (code < cut) | (tie & (mass < missing))
            mass += weight if tie else 0
    settle(c, kept)


cdef void ox_keep_first(ox_candidates* c, int k) noexcept nogil:
    cdef int n_blocks = ox_row_n_blocks(c.n)
    cdef uint64_t rank = k
    cdef uint32_t code
    if k >= c.n:
        return
    if c.whole and k <= n_blocks:
        # k blocks have a token at or above the k-th best block maximum, so the first k tokens are all up there.
        ox_row_codes(c.block_max, n_blocks, c.codes)
        code = code_reaching(c, c.codes, NULL, n_blocks, &rank)
        ox_keep_above(c, ox_code_value(code))
    ox_row_codes(c.x, c.n, c.codes)
    ox_keep_mass(c, c.codes, NULL, k)


cdef void ox_keep_tail(ox_candidates* c, double threshold) noexcept nogil:
    cdef int last = -1
    cdef int kept = 0
    cdef int i
    for i in range(c.n):
        if c.x[i] >= threshold and (last < 0 or c.x[i] <= c.x[last]):
            last = i
    for i in range(c.n):
        if i == last or c.x[i] < threshold:
            c.id_buffer[kept] = c.ids[i]
            c.x_buffer[kept] = c.x[i]
            kept += 1
    settle(c, kept)


cdef void ox_weigh(ox_candidates* c, double temperature) noexcept nogil:
    c.total = ox_row_weights(c.x, c.n, c.max, <float> (1.0 / temperature), c.weights)


cdef double ox_log_sum_exp(const ox_candidates* c) noexcept nogil:
    return <double> c.max + log(<double> c.total / OX_WEIGHT_ONE)


cdef double ox_entropy(const ox_candidates* c) noexcept nogil:
    cdef double mean = ox_row_weighted_sum(c.x, c.weights, c.n, c.max) / <double> c.total
    return max(0.0, log(<double> c.total / OX_WEIGHT_ONE) - mean)


cdef void ox_rank(ox_candidates* c) noexcept nogil:
    cdef int i, j
    for i in range(c.n):
        j = i
        while j > 0 and c.x[c.places[j - 1]] < c.x[i]:
            c.places[j] = c.places[j - 1]
            j -= 1
        c.places[j] = i
