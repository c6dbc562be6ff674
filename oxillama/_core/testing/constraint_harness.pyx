"""Constraints for tests, and what the core does with them, call by call. Not used by the engine."""

cimport cython
from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from oxillama._core.atomics cimport ox_atomic_i32, ox_fetch_add_acq_rel_i32, ox_load_acquire_i32, ox_store_release_i32
from oxillama._core.constraint cimport (
    OX_CONSTRAINT_COMPLETE,
    OX_CONSTRAINT_DEAD,
    OX_CONSTRAINT_FAILED,
    OX_CONSTRAINT_OPEN,
    Constraint,
    constraint_destroy,
    constraint_mask,
    constraint_prepare,
    constraint_settle,
    constraint_take,
    mask_is_within,
    mask_only_token,
    ox_constraint,
    ox_constraint_status,
)

cdef enum:
    MAX_LIST = 64
    MAX_TOKENS = 4096
    OX_DRAFTS = 16

# Codes of misuse, which stays readable after the constraint is destroyed.
cdef enum:
    FINE = 0
    WRONG_POSITION = 1
    WAIT_WITHOUT_BEGIN = 2
    TOKEN_NOT_ALLOWED = 3
    ROLLBACK_TOO_FAR = 4
    TWO_CALLERS = 5
    ACCEPT_BEFORE_WAIT = 6

MISUSES = {
    WRONG_POSITION: "a mask of another position than that of the accepted tokens",
    WAIT_WITHOUT_BEGIN: "a wait for a mask that was not begun",
    TOKEN_NOT_ALLOWED: "a token that the mask does not allow",
    ROLLBACK_TOO_FAR: "more tokens taken back than accepted",
    TWO_CALLERS: "two callers at a time",
    ACCEPT_BEFORE_WAIT: "a call between the beginning of a mask and the wait for it",
}


cdef struct Notes:
    ox_atomic_i32 num_references
    ox_atomic_i32 misuse
    ox_atomic_i32 callers


cdef struct SieveState:
    ox_constraint base
    Notes *notes
    int32_t n_vocab
    int32_t modulus
    int32_t n_remainders
    int32_t[MAX_LIST] remainders
    int32_t n_ends
    int32_t[MAX_LIST] ends
    int32_t length
    int32_t fails_at
    int32_t dead_at
    int32_t n_forced
    int32_t[MAX_TOKENS] forced
    int32_t n_accepted
    int32_t pending           # a mask was begun: its position, else -1


cdef void note(SieveState *s, int32_t misuse) noexcept nogil:
    ox_store_release_i32(&s.notes.misuse, misuse)


cdef void enter(SieveState *s) noexcept nogil:
    if ox_fetch_add_acq_rel_i32(&s.notes.callers, 1) != 0:
        note(s, TWO_CALLERS)


cdef void leave(SieveState *s) noexcept nogil:
    ox_fetch_add_acq_rel_i32(&s.notes.callers, -1)


cdef void release_notes(Notes *notes) noexcept nogil:
    if ox_fetch_add_acq_rel_i32(&notes.num_references, -1) == 1:
        free(notes)


cdef bint passes(const SieveState *s, int32_t token) noexcept nogil:
    cdef int32_t i
    for i in range(s.n_remainders):
        if token % s.modulus == s.remainders[i]:
            return True
    return False


cdef bint is_end(const SieveState *s, int32_t token) noexcept nogil:
    cdef int32_t i
    for i in range(s.n_ends):
        if s.ends[i] == token:
            return True
    return False


cdef ox_constraint_status standing(const SieveState *s) noexcept nogil:
    if 0 <= s.fails_at <= s.n_accepted:
        return OX_CONSTRAINT_FAILED
    if s.n_accepted == s.dead_at:
        return OX_CONSTRAINT_DEAD
    if s.n_accepted == s.length:
        return OX_CONSTRAINT_COMPLETE
    return OX_CONSTRAINT_OPEN


cdef void mask_begin(ox_constraint *base, int32_t position, uint32_t *mask) noexcept nogil:
    cdef SieveState *s = <SieveState *> base
    cdef int32_t token
    enter(s)
    if position != s.n_accepted:
        note(s, WRONG_POSITION)
    s.pending = position
    memset(mask, 0, (s.n_vocab + 31) // 32 * sizeof(uint32_t))
    for token in range(s.n_vocab):
        if is_end(s, token) or (passes(s, token) and s.n_accepted != s.length):
            mask[token >> 5] |= <uint32_t> 1 << (token & 31)
    leave(s)


cdef ox_constraint_status mask_wait(ox_constraint *base) noexcept nogil:
    cdef SieveState *s = <SieveState *> base
    cdef ox_constraint_status status = standing(s)
    enter(s)
    if s.pending < 0:
        note(s, WAIT_WITHOUT_BEGIN)
    s.pending = -1
    leave(s)
    # A mask with end tokens only is as good as the status.
    return OX_CONSTRAINT_OPEN if status == OX_CONSTRAINT_COMPLETE and s.n_ends > 0 else status


cdef ox_constraint_status accept(ox_constraint *base, int32_t token) noexcept nogil:
    cdef SieveState *s = <SieveState *> base
    enter(s)
    if s.pending >= 0:
        note(s, ACCEPT_BEFORE_WAIT)
    if not passes(s, token) or s.n_accepted == s.length:
        note(s, TOKEN_NOT_ALLOWED)
    s.n_accepted += 1
    leave(s)
    return standing(s) if standing(s) != OX_CONSTRAINT_DEAD else OX_CONSTRAINT_OPEN


cdef ox_constraint_status rollback(ox_constraint *base, int32_t n) noexcept nogil:
    cdef SieveState *s = <SieveState *> base
    enter(s)
    if n > s.n_accepted or n < 1:
        note(s, ROLLBACK_TOO_FAR)
    s.n_accepted -= n
    leave(s)
    return OX_CONSTRAINT_OPEN


cdef int32_t guess(ox_constraint *base, int32_t *tokens, int32_t most) noexcept nogil:
    cdef SieveState *s = <SieveState *> base
    cdef int32_t i, n = max(0, min(most, s.n_forced - s.n_accepted))
    for i in range(n):
        tokens[i] = s.forced[s.n_accepted + i]
    return n


cdef void destroy(ox_constraint *base) noexcept nogil:
    release_notes((<SieveState *> base).notes)
    free(base)


@cython.final
cdef class Sieve(Constraint):
    cdef Notes *notes

    def __init__(self, int32_t n_vocab, *, int32_t modulus=2, remainders=(0,), ends=(), int32_t length=-1, forced=(),
                 int32_t fails_at=-1, int32_t dead_at=-1):
        cdef SieveState *s
        cdef Py_ssize_t i
        if len(remainders) > MAX_LIST or len(ends) > MAX_LIST or len(forced) > MAX_TOKENS:
            raise ValueError("too much for a test")
        s = <SieveState *> calloc(1, sizeof(SieveState))
        self.notes = <Notes *> calloc(1, sizeof(Notes))
        if s == NULL or self.notes == NULL:
            raise MemoryError
        ox_store_release_i32(&self.notes.num_references, 2)
        s.notes = self.notes
        s.n_vocab = n_vocab
        s.modulus = modulus
        s.length = length
        s.fails_at = fails_at
        s.dead_at = dead_at
        s.pending = -1
        s.n_remainders = <int32_t> len(remainders)
        for i in range(len(remainders)):
            s.remainders[i] = remainders[i]
        s.n_ends = <int32_t> len(ends)
        for i in range(len(ends)):
            s.ends[i] = ends[i]
        s.n_forced = <int32_t> len(forced)
        for i in range(len(forced)):
            s.forced[i] = forced[i]
        s.base.mask_begin = mask_begin
        s.base.mask_wait = mask_wait
        s.base.accept = accept
        s.base.rollback = rollback
        if s.n_forced > 0:
            s.base.forced = guess
        s.base.destroy = destroy
        self.c = &s.base

    def __dealloc__(self):
        if self.notes != NULL:
            release_notes(self.notes)

    @property
    def misuse(self):
        return MISUSES.get(ox_load_acquire_i32(&self.notes.misuse))


@cython.final
cdef class Masks:
    cdef ox_constraint *c
    cdef int32_t n_vocab

    def __init__(self, Constraint constraint not None, int32_t n_vocab):
        self.c = constraint.release()
        self.n_vocab = n_vocab

    def __dealloc__(self):
        constraint_destroy(self.c)

    def prepare(self, int32_t position, drafts=()):
        cdef int32_t[OX_DRAFTS] tokens
        cdef int32_t i, n = <int32_t> len(drafts)
        if n > OX_DRAFTS:
            raise ValueError("too many drafts")
        for i in range(n):
            tokens[i] = drafts[i]
        with nogil:
            constraint_prepare(self.c, self.n_vocab, position, tokens, n)

    def mask(self, int32_t position):
        cdef ox_constraint_status status
        cdef const uint32_t *mask = constraint_mask(self.c, position, &status)
        if mask == NULL:
            return <int> status, None
        return <int> status, [i for i in range(self.n_vocab) if (mask[i >> 5] >> (i & 31)) & 1]

    def take(self, int32_t token):
        return <int> constraint_take(self.c, token)

    def settle(self):
        return <int> constraint_settle(self.c)

    def accept(self, int32_t token):
        return <int> self.c.accept(self.c, token)

    def rollback(self, int32_t n):
        return <int> self.c.rollback(self.c, n)

    def forced(self, int32_t most):
        cdef int32_t[MAX_TOKENS] tokens
        cdef int32_t i, n = 0
        if self.c.forced != NULL:
            n = self.c.forced(self.c, tokens, min(most, <int32_t> MAX_TOKENS))
        return [tokens[i] for i in range(n)]


def only_token(words, int32_t n_vocab):
    cdef uint32_t[MAX_LIST] mask
    cdef Py_ssize_t i
    for i in range(len(words)):
        mask[i] = words[i]
    return mask_only_token(mask, n_vocab)


def is_within(words, int32_t n_vocab, tokens):
    cdef uint32_t[MAX_LIST] mask
    cdef int32_t[MAX_LIST] listed
    cdef Py_ssize_t i
    for i in range(len(words)):
        mask[i] = words[i]
    for i in range(len(tokens)):
        listed[i] = tokens[i]
    return bool(mask_is_within(mask, n_vocab, listed, <int32_t> len(tokens)))
