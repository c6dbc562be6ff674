"""Masks of a step, and drafts accepted ahead: what the core does with any constraint; the contract is the .pxd."""

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport free, realloc

cdef extern from * nogil:
    int ctz "__builtin_ctz"(uint32_t)
    int popcount "__builtin_popcount"(uint32_t)


cdef bint allows(const uint32_t *mask, int32_t token) noexcept nogil:
    return (mask[token >> 5] >> (token & 31)) & 1


cdef bint has_rows(ox_masks *m, int32_t n_vocab, int32_t n_rows) noexcept nogil:
    cdef int32_t n_words = (n_vocab + 31) // 32
    cdef uint32_t *bits
    if n_rows <= m.n_rows:
        return True
    bits = <uint32_t *> realloc(m.bits, <size_t> n_rows * n_words * sizeof(uint32_t))
    if bits == NULL:
        return False
    m.bits = bits
    m.n_words = n_words
    m.n_rows = n_rows
    return True


cdef void fail(ox_masks *m, int32_t position) noexcept nogil:
    m.position = position
    m.n_ready = 1
    m.status[0] = OX_CONSTRAINT_FAILED


cdef void constraint_prepare(ox_constraint *c, int32_t n_vocab, int32_t position, const int32_t *drafts,
                             int32_t n_drafts) noexcept nogil:
    cdef ox_masks *m = &c.masks
    cdef uint32_t *mask
    cdef int32_t i
    if constraint_settle(c) != OX_CONSTRAINT_OPEN:
        fail(m, position)
        return
    if not has_rows(m, n_vocab, n_drafts + 1):
        n_drafts = 0
        if not has_rows(m, n_vocab, 1):
            fail(m, position)
            return
    if m.position != position:
        m.n_ready = 0
        m.position = position
    for i in range(n_drafts + 1):
        mask = m.bits + <size_t> i * m.n_words
        if i == m.n_ready:
            c.mask_begin(c, position + i, mask)
            m.status[i] = c.mask_wait(c)
            m.n_ready += 1
        if i == n_drafts or m.status[i] != OX_CONSTRAINT_OPEN:
            return
        if not 0 <= drafts[i] < n_vocab or not allows(mask, drafts[i]):
            return  # another token will be drawn here
        m.drafts[i] = drafts[i]
        m.accepted[i] = c.accept(c, drafts[i])
        m.n_ahead += 1
        if m.accepted[i] != OX_CONSTRAINT_OPEN:
            return


cdef const uint32_t *constraint_mask(ox_constraint *c, int32_t position, ox_constraint_status *status) noexcept nogil:
    cdef ox_masks *m = &c.masks
    cdef int32_t i = position - m.position
    status[0] = OX_CONSTRAINT_OPEN
    if not 0 <= i < m.n_ready:
        return NULL
    status[0] = m.status[i]
    return m.bits + <size_t> i * m.n_words if status[0] == OX_CONSTRAINT_OPEN else NULL


cdef ox_constraint_status constraint_take(ox_constraint *c, int32_t token) noexcept nogil:
    cdef ox_masks *m = &c.masks
    if m.n_drawn < m.n_ahead and m.drafts[m.n_drawn] == token:
        m.n_drawn += 1
        return m.accepted[m.n_drawn - 1]
    if constraint_settle(c) != OX_CONSTRAINT_OPEN:
        return OX_CONSTRAINT_FAILED
    m.n_ready = 0
    return c.accept(c, token)


cdef ox_constraint_status constraint_settle(ox_constraint *c) noexcept nogil:
    cdef ox_masks *m = &c.masks
    cdef int32_t n = m.n_ahead - m.n_drawn
    if m.n_ahead == 0:
        return OX_CONSTRAINT_OPEN
    if m.n_drawn > 0:
        m.n_ready = 0
    else:
        m.n_ready = min(m.n_ready, 1)  # behind drafts that may never come
    m.n_ahead = m.n_drawn = 0
    return c.rollback(c, n) if n > 0 else OX_CONSTRAINT_OPEN


cdef void constraint_destroy(ox_constraint *c) noexcept nogil:
    if c == NULL:
        return
    free(c.masks.bits)
    c.masks.bits = NULL
    c.destroy(c)


cdef int32_t mask_only_token(const uint32_t *mask, int32_t n_vocab) noexcept nogil:
    cdef int32_t i, n_words = (n_vocab + 31) // 32, found = -1
    cdef uint32_t word
    for i in range(n_words):
        word = mask[i]
        if i == n_words - 1 and n_vocab & 31:
            word &= (<uint32_t> 1 << (n_vocab & 31)) - 1
        if word == 0:
            continue
        if found >= 0 or word & (word - 1):
            return -1
        found = 32 * i + ctz(word)
    return found


cdef bint mask_is_within(const uint32_t *mask, int32_t n_vocab, const int32_t *tokens, int32_t n_tokens) noexcept nogil:
    cdef int32_t i, k, n_allowed = 0, n_within = 0
    cdef uint32_t word
    for i in range((n_vocab + 31) // 32):
        word = mask[i]
        if 32 * i + 32 > n_vocab:
            word &= (<uint32_t> 1 << (n_vocab & 31)) - 1
        n_allowed += popcount(word)
    for i in range(n_tokens):
        for k in range(i):
            if tokens[k] == tokens[i]:
                break
        else:
            if 0 <= tokens[i] < n_vocab and allows(mask, tokens[i]):
                n_within += 1
    return n_within > 0 and n_within == n_allowed


cdef class Constraint:
    def __dealloc__(self):
        constraint_destroy(self.c)

    cdef ox_constraint *release(self) except NULL:
        cdef ox_constraint *c = self.c
        if c == NULL:
            raise ValueError("the constraint belongs to another request, or was never made")
        self.c = NULL
        return c
