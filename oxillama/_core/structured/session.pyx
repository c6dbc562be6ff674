"""A constraint that Python drives: for property tests of a grammar beside the sampler."""

from libc.stdint cimport int32_t, uint32_t

import numpy as np

from oxillama._core.constraint cimport (
    OX_CONSTRAINT_COMPLETE,
    OX_CONSTRAINT_DEAD,
    OX_CONSTRAINT_FAILED,
    OX_CONSTRAINT_OPEN,
    Constraint,
    constraint_destroy,
    ox_constraint,
    ox_constraint_status,
)

STATUSES = ("open", "complete", "dead", "failed")
assert (OX_CONSTRAINT_OPEN, OX_CONSTRAINT_COMPLETE, OX_CONSTRAINT_DEAD, OX_CONSTRAINT_FAILED) == (0, 1, 2, 3)

cdef enum:
    MAX_FORCED = 256


cdef class ConstraintSession:
    cdef ox_constraint *c
    cdef readonly int32_t n_vocab
    cdef int32_t n_accepted

    def __init__(self, Constraint constraint not None, int32_t n_vocab):
        if self.c != NULL:
            raise ValueError("the session has begun already")
        self.c = constraint.release()
        self.n_vocab = n_vocab

    def __dealloc__(self):
        constraint_destroy(self.c)

    def mask(self):
        cdef ox_constraint_status status
        out = np.zeros((self.n_vocab + 31) // 32, dtype=np.uint32)
        cdef uint32_t[::1] row = out
        with nogil:
            self.c.mask_begin(self.c, self.n_accepted, &row[0])
            status = self.c.mask_wait(self.c)
        if status != OX_CONSTRAINT_OPEN:
            out[:] = 0
        elif self.n_vocab % 32:
            out[-1] &= (1 << self.n_vocab % 32) - 1
        return STATUSES[<int> status], out

    def accept(self, int32_t token):
        if not 0 <= token < self.n_vocab:
            raise IndexError(f"token {token} is outside the vocabulary of {self.n_vocab}")
        self.n_accepted += 1
        return STATUSES[<int> self.c.accept(self.c, token)]

    def rollback(self, int32_t n):
        if not 0 <= n <= self.n_accepted:
            raise ValueError(f"{n} tokens of {self.n_accepted} cannot be taken back")
        if n == 0:
            return STATUSES[0]
        self.n_accepted -= n
        return STATUSES[<int> self.c.rollback(self.c, n)]

    def forced(self, int32_t most):
        cdef int32_t[MAX_FORCED] tokens
        cdef int32_t i, n = 0
        if self.c.forced != NULL:
            n = self.c.forced(self.c, tokens, min(most, <int32_t> MAX_FORCED))
        return [tokens[i] for i in range(n)]
