"""The contract of a constraint by llguidance's Python classes: for builds of it that do not export their C functions.

Whoever calls it waits for the GIL, a whole switch interval while another thread computes in Python.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from oxillama._core.constraint cimport (
    OX_CONSTRAINT_COMPLETE,
    OX_CONSTRAINT_DEAD,
    OX_CONSTRAINT_FAILED,
    OX_CONSTRAINT_OPEN,
    Constraint,
    ox_constraint,
    ox_constraint_status,
)


cdef struct State:
    ox_constraint base
    PyObject *walk            # owned
    ox_constraint_status status
    size_t n_row_bytes
    size_t n_mask_bytes
    uint32_t *scratch


class Walk:
    """A matcher, and the way it has gone."""

    def __init__(self, pristine):
        self.pristine = pristine
        self.matcher = pristine.deep_copy()
        self.tokens = []

    def accept(self, token):
        self.tokens.append(token)
        self.matcher.consume_token(token)

    def rollback(self, n):
        del self.tokens[-n:]
        if self.matcher.is_error() or not self.matcher.rollback(n):
            # A limit was hit behind drafts that may never come. The way there is taken again, without them.
            self.matcher = self.pristine.deep_copy()
            self.matcher.consume_tokens(self.tokens)


cdef ox_constraint_status standing(object walk):
    if walk.matcher.is_error():
        return OX_CONSTRAINT_DEAD if walk.matcher.get_error().startswith("NoExtensionBias") else OX_CONSTRAINT_FAILED
    return OX_CONSTRAINT_COMPLETE if walk.tokens and walk.matcher.is_stopped() else OX_CONSTRAINT_OPEN


cdef void mask_begin(ox_constraint *base, int32_t position, uint32_t *mask) noexcept nogil:
    cdef State *s = <State *> base
    cdef uint32_t *target = mask if s.scratch == NULL else s.scratch
    s.status = OX_CONSTRAINT_FAILED
    with gil:
        try:
            walk = <object> s.walk
            s.status = standing(walk)
            if s.status == OX_CONSTRAINT_OPEN:
                walk.matcher.unsafe_compute_mask_ptr(<size_t> target, s.n_mask_bytes)
                s.status = standing(walk)
        except Exception:
            s.status = OX_CONSTRAINT_FAILED
    if s.scratch != NULL:
        memcpy(mask, s.scratch, s.n_row_bytes)


cdef ox_constraint_status mask_wait(ox_constraint *base) noexcept nogil:
    return (<State *> base).status


cdef ox_constraint_status accept(ox_constraint *base, int32_t token) noexcept nogil:
    cdef ox_constraint_status status = OX_CONSTRAINT_FAILED
    with gil:
        try:
            walk = <object> (<State *> base).walk
            walk.accept(token)
            status = standing(walk)
        except Exception:
            status = OX_CONSTRAINT_FAILED
    return OX_CONSTRAINT_FAILED if status == OX_CONSTRAINT_DEAD else status


cdef ox_constraint_status rollback(ox_constraint *base, int32_t n) noexcept nogil:
    cdef ox_constraint_status status = OX_CONSTRAINT_FAILED
    with gil:
        try:
            walk = <object> (<State *> base).walk
            walk.rollback(n)
            status = OX_CONSTRAINT_FAILED if walk.matcher.is_error() else OX_CONSTRAINT_OPEN
        except Exception:
            status = OX_CONSTRAINT_FAILED
    return status


cdef int32_t forced(ox_constraint *base, int32_t *tokens, int32_t most) noexcept nogil:
    cdef int32_t n = 0
    with gil:
        try:
            walk = <object> (<State *> base).walk
            if standing(walk) == OX_CONSTRAINT_OPEN:
                for token in walk.matcher.compute_ff_tokens()[:most]:
                    tokens[n] = token
                    n += 1
        except Exception:
            n = 0
    return n


cdef void destroy(ox_constraint *base) noexcept nogil:
    cdef State *s = <State *> base
    with gil:
        if s.walk != NULL:
            Py_DECREF(<object> s.walk)
    free(s.scratch)
    free(s)


cdef class PythonGuide(Constraint):
    def __init__(self, pristine, int32_t n_vocab, int32_t n_tokens):
        cdef State *s
        if self.c != NULL:
            raise ValueError("the guide is made already")
        s = <State *> calloc(1, sizeof(State))
        if s == NULL:
            raise MemoryError
        s.base.mask_begin = mask_begin
        s.base.mask_wait = mask_wait
        s.base.accept = accept
        s.base.rollback = rollback
        s.base.forced = forced
        s.base.destroy = destroy
        self.c = &s.base
        s.n_row_bytes = (<size_t> n_vocab + 31) // 32 * sizeof(uint32_t)
        s.n_mask_bytes = (<size_t> n_tokens + 31) // 32 * sizeof(uint32_t)
        if s.n_mask_bytes != s.n_row_bytes:
            s.scratch = <uint32_t *> calloc(s.n_mask_bytes, 1)
            if s.scratch == NULL or s.n_mask_bytes < s.n_row_bytes:
                raise MemoryError
        walk = Walk(pristine)
        Py_INCREF(walk)
        s.walk = <PyObject *> walk
