"""A constraint that allows one output only, token by token: what an engine says whose lines a test has written."""

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from oxillama._core.constraint cimport (
    OX_CONSTRAINT_COMPLETE,
    OX_CONSTRAINT_OPEN,
    Constraint,
    ox_constraint,
    ox_constraint_status,
)


cdef struct FixedState:
    ox_constraint base
    int32_t n_vocab
    int32_t n_tokens
    int32_t n_accepted
    int32_t n_ends
    int32_t *tokens      # [n_tokens + n_ends]: the output, then what may end it


cdef void mask_begin(ox_constraint *base, int32_t position, uint32_t *mask) noexcept nogil:
    cdef FixedState *s = <FixedState *> base
    cdef int32_t i, token
    memset(mask, 0, (s.n_vocab + 31) // 32 * sizeof(uint32_t))
    if s.n_accepted < s.n_tokens:
        token = s.tokens[s.n_accepted]
        mask[token >> 5] |= <uint32_t> 1 << (token & 31)
        return
    for i in range(s.n_tokens, s.n_tokens + s.n_ends):
        mask[s.tokens[i] >> 5] |= <uint32_t> 1 << (s.tokens[i] & 31)


cdef ox_constraint_status standing(const FixedState *s) noexcept nogil:
    return OX_CONSTRAINT_OPEN if s.n_accepted < s.n_tokens else OX_CONSTRAINT_COMPLETE


cdef ox_constraint_status mask_wait(ox_constraint *base) noexcept nogil:
    return standing(<FixedState *> base)


cdef ox_constraint_status accept(ox_constraint *base, int32_t token) noexcept nogil:
    cdef FixedState *s = <FixedState *> base
    s.n_accepted += 1
    return standing(s)


cdef ox_constraint_status rollback(ox_constraint *base, int32_t n) noexcept nogil:
    cdef FixedState *s = <FixedState *> base
    s.n_accepted -= n
    return standing(s)


cdef void destroy(ox_constraint *base) noexcept nogil:
    free((<FixedState *> base).tokens)
    free(base)


cdef class FixedTokens(Constraint):
    def __init__(self, tokens, int32_t n_vocab, end_tokens):
        """tokens: the only output. end_tokens: what may follow it. Raises ValueError for a token beyond n_vocab."""
        cdef FixedState *s
        cdef int32_t i
        ids = [*tokens, *end_tokens]
        if any(not 0 <= token < n_vocab for token in ids):
            raise ValueError(f"expected tokens from 0 to {n_vocab - 1}")
        if self.c != NULL:
            raise RuntimeError("a constraint is made once")
        s = <FixedState *> calloc(1, sizeof(FixedState))
        if s == NULL:
            raise MemoryError
        s.tokens = <int32_t *> calloc(len(ids) + 1, sizeof(int32_t))
        if s.tokens == NULL:
            free(s)
            raise MemoryError
        for i in range(<int32_t> len(ids)):
            s.tokens[i] = ids[i]
        s.n_vocab, s.n_tokens, s.n_ends = n_vocab, len(tokens), len(end_tokens)
        s.base.mask_begin = mask_begin
        s.base.mask_wait = mask_wait
        s.base.accept = accept
        s.base.rollback = rollback
        s.base.forced = NULL
        s.base.destroy = destroy
        self.c = &s.base
