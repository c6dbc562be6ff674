"""A constraint around another one, or none: thinking is closed, token by token, where it has used up its budget.

What is forced follows from the output alone: how many tokens began inside the thinking, and how much of the closing
marker the text ends with. So it is the same whatever was drafted, taken back or computed again.
"""

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from oxillama._core.constraint cimport (
    OX_CONSTRAINT_FAILED,
    OX_CONSTRAINT_OPEN,
    Constraint,
    constraint_destroy,
    ox_constraint,
    ox_constraint_status,
)
from oxillama._core.output.thinking cimport (
    OX_THINKING_INSIDE,
    OX_THINKING_OVER,
    ThinkingMarks,
    ox_thinking,
    ox_thinking_marks,
    thinking_closer,
    thinking_start,
    thinking_token,
)
from oxillama._core.output.vocab cimport HIDDEN, TokenTable, TokenView

cdef enum:
    # A character has four bytes at most: who has not completed it by now will not.
    MOST_LATE = 3


cdef struct BudgetState:
    ox_constraint base
    ox_constraint *inner         # owned, or NULL
    ox_thinking_marks marks
    int32_t *numbers             # owned: those of the marks
    const TokenView *view
    int32_t n_vocab
    int32_t budget
    int32_t n_accepted
    # The state after each accepted token, the first being that before all of them; it grows until thinking is over.
    ox_thinking *path            # [n_path], room for max_path
    int32_t n_path
    int32_t max_path
    uint32_t *mask               # that was begun last


cdef const ox_thinking *present(const BudgetState *s) noexcept nogil:
    return &s.path[min(s.n_accepted, s.n_path - 1)]


cdef bint is_spent(const BudgetState *s, const ox_thinking *at) noexcept nogil:
    if at.place != OX_THINKING_INSIDE or at.num_tokens < s.budget:
        return False
    return at.num_missing == 0 or at.num_tokens - s.budget >= MOST_LATE


cdef void mask_begin(ox_constraint *base, int32_t position, uint32_t *mask) noexcept nogil:
    cdef BudgetState *s = <BudgetState *> base
    s.mask = mask
    if s.inner != NULL:
        s.inner.mask_begin(s.inner, position, mask)
    else:
        memset(mask, 0xFF, (<size_t> s.n_vocab + 31) // 32 * sizeof(uint32_t))


cdef ox_constraint_status mask_wait(ox_constraint *base) noexcept nogil:
    cdef BudgetState *s = <BudgetState *> base
    cdef ox_constraint_status status = OX_CONSTRAINT_OPEN
    cdef int32_t token
    if s.inner != NULL:
        status = s.inner.mask_wait(s.inner)
    if status == OX_CONSTRAINT_OPEN and is_spent(s, present(s)):
        token = thinking_closer(&s.marks, present(s))
        if (s.mask[token >> 5] >> (token & 31)) & 1:
            memset(s.mask, 0, (<size_t> s.n_vocab + 31) // 32 * sizeof(uint32_t))
            s.mask[token >> 5] = <uint32_t> 1 << (token & 31)
    return status


cdef bint advance(BudgetState *s, int32_t token) noexcept nogil:
    cdef ox_thinking *grown
    cdef ox_thinking after = present(s)[0]
    s.n_accepted += 1
    if after.place == OX_THINKING_OVER:
        return True
    if s.n_path == s.max_path:
        grown = <ox_thinking *> realloc(s.path, (2 * <size_t> s.max_path) * sizeof(ox_thinking))
        if grown == NULL:
            return False
        s.path = grown
        s.max_path *= 2
    thinking_token(&s.marks, s.view, HIDDEN, &after, token)
    s.path[s.n_path] = after
    s.n_path += 1
    return True


cdef ox_constraint_status accept(ox_constraint *base, int32_t token) noexcept nogil:
    cdef BudgetState *s = <BudgetState *> base
    cdef ox_constraint_status status = OX_CONSTRAINT_OPEN
    cdef bint has_room = advance(s, token)
    if s.inner != NULL:
        status = s.inner.accept(s.inner, token)
    return status if has_room else OX_CONSTRAINT_FAILED


cdef ox_constraint_status rollback(ox_constraint *base, int32_t n) noexcept nogil:
    cdef BudgetState *s = <BudgetState *> base
    s.n_accepted -= n
    s.n_path = min(s.n_path, s.n_accepted + 1)
    return OX_CONSTRAINT_OPEN if s.inner == NULL else s.inner.rollback(s.inner, n)


cdef int32_t forced(ox_constraint *base, int32_t *tokens, int32_t most) noexcept nogil:
    cdef BudgetState *s = <BudgetState *> base
    cdef ox_thinking at = present(s)[0]
    cdef int32_t n = 0
    if is_spent(s, &at):
        while n < most and at.place == OX_THINKING_INSIDE:
            tokens[n] = thinking_closer(&s.marks, &at)
            thinking_token(&s.marks, s.view, HIDDEN, &at, tokens[n])
            n += 1
        return n
    if s.inner == NULL or s.inner.forced == NULL:
        return 0
    return s.inner.forced(s.inner, tokens, most)


cdef void destroy(ox_constraint *base) noexcept nogil:
    cdef BudgetState *s = <BudgetState *> base
    constraint_destroy(s.inner)
    free(s.numbers)
    free(s.path)
    free(s)


cdef class ThinkingBudget(Constraint):
    cdef TokenTable _table

    def __init__(self, ThinkingMarks marks not None, TokenTable table not None, int32_t n_vocab, int32_t budget, *,
                 bint is_open, Constraint inner=None):
        cdef BudgetState *s
        cdef size_t n_bytes = (marks.c.n_open + 3 * <size_t> marks.c.n_close) * sizeof(int32_t)
        if self.c != NULL:
            raise RuntimeError("a constraint is made once")
        if any(not 0 <= token < n_vocab for token in marks.closers):
            raise ValueError(f"expected closers from 0 to {n_vocab - 1}")
        s = <BudgetState *> calloc(1, sizeof(BudgetState))
        if s == NULL:
            raise MemoryError
        s.base.mask_begin = mask_begin
        s.base.mask_wait = mask_wait
        s.base.accept = accept
        s.base.rollback = rollback
        s.base.forced = forced
        s.base.destroy = destroy
        self.c = &s.base
        s.max_path = 64
        s.path = <ox_thinking *> malloc(s.max_path * sizeof(ox_thinking))
        s.numbers = <int32_t *> malloc(n_bytes)
        if s.path == NULL or s.numbers == NULL:
            raise MemoryError
        memcpy(s.numbers, marks.c.numbers, n_bytes)
        s.marks = marks.c
        s.marks.numbers = s.numbers
        s.n_vocab, s.budget, s.n_path = n_vocab, budget, 1
        self._table = table
        s.view = &table.view
        thinking_start(&s.marks, is_open, &s.path[0])
        if inner is not None:
            s.inner = inner.release()
