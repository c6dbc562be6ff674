"""Which candidate a draw looks at: the bound of csrc/sampling/gumbel.h leaves out nearly all, the rest get their
exact score."""

from libc.float cimport FLT_MAX
from libc.math cimport INFINITY
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from oxillama._core.sampling.candidates cimport OX_ROW_BLOCK, ox_row_max, ox_row_n_blocks
from oxillama._core.network.kernels cimport OX_GUMBEL_BLOCK, active_kernels, kernels_of, ox_gumbel_draw
from oxillama._core.sampling.philox cimport OX_RANDOM_GUMBEL, OX_RANDOM_GUMBEL_LOW

cdef extern from "sampling/gumbel.h" nogil:
    const int64_t OX_GUMBEL_NONE
    const float OX_GUMBEL_MOST
    const double OX_GUMBEL_ONE
    uint32_t ox_gumbel_word(const ox_gumbel_draw* draw, uint32_t stage, uint32_t token)
    double ox_gumbel(uint64_t bits)
    int64_t ox_gumbel_score(const ox_gumbel_draw* draw, float logit, uint64_t bits)
    float ox_gumbel_bound(const ox_gumbel_draw* draw, float logit, uint32_t word)
    float ox_gumbel_bar(int64_t score)

cdef extern from * nogil:
    int ctz "__builtin_ctzll"(uint64_t)

cdef enum:
    # Candidates of one block from which on its 64 words are made together: that takes the time of about four alone.
    DENSE = 4


# Blocks of the random words and of the maxima are the same tokens.
assert OX_GUMBEL_BLOCK == OX_ROW_BLOCK


cdef struct leader:
    int place
    int32_t token
    int64_t score
    float bar  # the least bound that is not below the score
    float reach  # the least distance from the best logit at which a token may still have the score


cdef void begin(
    ox_gumbel_draw* draw, float best, double temperature, uint64_t seed, uint32_t choice, uint32_t position
) noexcept nogil:
    draw.key[0] = <uint32_t> seed
    draw.key[1] = <uint32_t> (seed >> 32)
    draw.position = position
    draw.choice = choice
    draw.stage = OX_RANDOM_GUMBEL
    draw.max = best
    draw.inverse_temperature = <float> (1.0 / temperature)
    draw.temperature = temperature


cdef void consider(
    const ox_gumbel_draw* draw, leader* lead, int place, int32_t token, float logit, uint32_t word
) noexcept nogil:
    cdef uint64_t bits
    cdef int64_t score
    if ox_gumbel_bound(draw, logit, word) < lead.bar:
        return
    bits = <uint64_t> word << 32 | ox_gumbel_word(draw, OX_RANDOM_GUMBEL_LOW, token)
    score = ox_gumbel_score(draw, logit, bits)
    if score == OX_GUMBEL_NONE or score < lead.score or (score == lead.score and token > lead.token):
        return
    lead.place = place
    lead.token = token
    lead.score = score
    lead.bar = ox_gumbel_bar(score)
    lead.reach = <float> (<double> score / OX_GUMBEL_ONE) - OX_GUMBEL_MOST


cdef void draw_row(const ox_candidates* c, const ox_gumbel_draw* draw, int block, leader* lead) noexcept nogil:
    """A block of the whole vocabulary."""
    cdef uint32_t[OX_GUMBEL_BLOCK] words
    cdef float[OX_GUMBEL_BLOCK] padded
    cdef int first = block * OX_GUMBEL_BLOCK
    cdef const float* row = c.x + first
    cdef uint64_t above
    cdef int i
    if (c.block_max[block] - draw.max) * draw.inverse_temperature < lead.reach:
        return
    if c.n - first < OX_GUMBEL_BLOCK:
        for i in range(OX_GUMBEL_BLOCK):
            padded[i] = row[i] if i < c.n - first else -INFINITY
        row = padded
    above = c.kernels.gumbel_block(draw, block, row, lead.bar, words)
    while above != 0:
        i = ctz(above)
        above &= above - 1
        consider(draw, lead, first + i, first + i, row[i], words[i])


cdef void draw_rows(const ox_candidates* c, const ox_gumbel_draw* draw, leader* lead) noexcept nogil:
    cdef int best = 0
    cdef int block
    # From the block of the best logit on, few others can win, and with a peaked distribution few blocks are looked at.
    while c.block_max[best] < c.max:
        best += 1
    draw_row(c, draw, best, lead)
    for block in range(ox_row_n_blocks(c.n)):
        if block != best:
            draw_row(c, draw, block, lead)


cdef inline uint32_t block_of(const ox_candidates* c, int place) noexcept nogil:
    return <uint32_t> c.ids[place] // OX_GUMBEL_BLOCK


cdef int draw_some(const ox_candidates* c, const ox_gumbel_draw* draw, int start, leader* lead) noexcept nogil:
    """The candidates from place ``start`` on that are in its block, as far as no other is between them: how many."""
    cdef uint32_t[OX_GUMBEL_BLOCK] words
    cdef float[OX_GUMBEL_BLOCK] row
    cdef uint32_t block = block_of(c, start)
    cdef uint64_t above
    cdef int stop = start
    cdef int place, i
    if start + DENSE > c.n or block_of(c, start + DENSE - 1) != block:
        consider(draw, lead, start, c.ids[start], c.x[start], ox_gumbel_word(draw, draw.stage, c.ids[start]))
        return 1
    for i in range(OX_GUMBEL_BLOCK):
        row[i] = -INFINITY
    while stop < c.n and block_of(c, stop) == block:
        row[<uint32_t> c.ids[stop] % OX_GUMBEL_BLOCK] = c.x[stop]
        stop += 1
    above = c.kernels.gumbel_block(draw, block, row, lead.bar, words)
    while above != 0:
        i = ctz(above)
        above &= above - 1
        place = start
        while <uint32_t> c.ids[place] % OX_GUMBEL_BLOCK != <uint32_t> i:
            place += 1
        consider(draw, lead, place, c.ids[place], row[i], words[i])
    return stop - start


cdef int ox_gumbel_draw_token(
    const ox_candidates* c, double temperature, uint64_t seed, uint32_t choice, uint32_t position
) noexcept nogil:
    cdef ox_gumbel_draw draw
    cdef leader lead
    cdef int place = 0
    begin(&draw, c.max, temperature, seed, choice, position)
    lead.place = 0
    lead.token = c.ids[0]
    lead.score = OX_GUMBEL_NONE
    lead.bar = -FLT_MAX  # above the bound of the gaps in a block, which is -infinity
    lead.reach = -FLT_MAX
    if c.whole:
        draw_rows(c, &draw, &lead)
        return lead.place
    while place < c.n:
        place += draw_some(c, &draw, place, &lead)
    return lead.place


def gumbel(bits):
    return ox_gumbel(bits)


def draw_token(
    const int32_t[::1] ids not None, const float[::1] logits not None, *, double temperature, uint64_t seed,
    uint32_t choice, uint32_t position, str level=None,
):
    cdef ox_candidates c
    if ids.shape[0] != logits.shape[0] or ids.shape[0] == 0:
        raise ValueError(f"{ids.shape[0]} ids for {logits.shape[0]} logits")
    memset(&c, 0, sizeof(c))
    c.kernels = active_kernels() if level is None else kernels_of(level)
    c.n = <int> ids.shape[0]
    c.ids = &ids[0]
    c.x = &logits[0]
    c.max = ox_row_max(c.x, c.n)
    return ids[ox_gumbel_draw_token(&c, temperature, seed, choice, position)]


def first_look(
    const float[::1] logits not None, uint32_t[::1] words not None, *, uint32_t block, float best, double temperature,
    uint64_t seed, uint32_t choice, uint32_t position, int64_t score, str level not None,
):
    cdef ox_gumbel_draw draw
    if logits.shape[0] != OX_GUMBEL_BLOCK or words.shape[0] != OX_GUMBEL_BLOCK:
        raise ValueError(f"{logits.shape[0]} logits and {words.shape[0]} words for a block of {OX_GUMBEL_BLOCK}")
    begin(&draw, best, temperature, seed, choice, position)
    return kernels_of(level).gumbel_block(&draw, block, &logits[0], ox_gumbel_bar(score), &words[0])
