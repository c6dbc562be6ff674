"""Where a reply thinks, symbol by symbol; what is what stands in the .pxd."""

from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc


cdef bint is_space(int32_t symbol) noexcept nogil:
    return symbol == 32 or 9 <= symbol <= 13


cdef void thinking_start(const ox_thinking_marks *marks, bint is_open, ox_thinking *state) noexcept nogil:
    state.place = OX_THINKING_INSIDE if is_open or marks.n_open == 0 else OX_THINKING_AHEAD
    state.matched = state.num_tokens = state.num_missing = 0


cdef void count_byte(ox_thinking *state, int32_t byte) noexcept nogil:
    """Keeps what the present character is short of. What is no character is short of nothing."""
    if 0x80 <= byte <= 0xBF:
        state.num_missing = max(0, state.num_missing - 1)
    else:
        state.num_missing = 3 if 0xF0 <= byte <= 0xF4 else 2 if 0xE0 <= byte < 0xF0 else 1 if 0xC2 <= byte < 0xE0 else 0


cdef void thinking_symbol(const ox_thinking_marks *marks, ox_thinking *state, int32_t symbol) noexcept nogil:
    cdef const int32_t *close = marks.numbers + marks.n_open
    cdef const int32_t *border = close + marks.n_close
    if state.place == OX_THINKING_AHEAD:
        if marks.numbers[state.matched] == symbol:
            state.matched += 1
            if state.matched == marks.n_open:
                state.place = OX_THINKING_INSIDE
                state.matched = 0
        elif state.matched > 0 or not is_space(symbol):
            state.place = OX_THINKING_OVER
        return
    if state.place == OX_THINKING_OVER:
        return
    if symbol < OX_HIDDEN_SYMBOL:
        count_byte(state, symbol)
    while state.matched > 0 and close[state.matched] != symbol:
        state.matched = border[state.matched - 1]
    if close[state.matched] == symbol:
        state.matched += 1
    if state.matched == marks.n_close:
        state.place = OX_THINKING_OVER
        state.matched = 0


cdef bint thinking_has(const ox_thinking_marks *marks, int32_t symbol) noexcept nogil:
    cdef int32_t i
    for i in range(marks.n_open + marks.n_close):
        if marks.numbers[i] == symbol:
            return True
    return False


cdef void thinking_token(const ox_thinking_marks *marks, const TokenView *view, uint8_t skip, ox_thinking *state,
                         int32_t token) noexcept nogil:
    cdef uint32_t i
    if state.place == OX_THINKING_INSIDE:
        state.num_tokens += 1
    # A token beyond the vocabulary writes nothing, and no marker has it.
    if state.place == OX_THINKING_OVER or not 0 <= token < view.num_tokens:
        return
    if view.flags[token] & skip:
        if thinking_has(marks, OX_HIDDEN_SYMBOL + token):
            thinking_symbol(marks, state, OX_HIDDEN_SYMBOL + token)
        return
    for i in range(view.offsets[token], view.offsets[token + 1]):
        thinking_symbol(marks, state, view.blob[i])


cdef int32_t thinking_closer(const ox_thinking_marks *marks, const ox_thinking *state) noexcept nogil:
    return marks.numbers[marks.n_open + 2 * marks.n_close + state.matched]


cdef class ThinkingMarks:
    # Not __init__: an object that exists is whole, and what other threads may be reading is never built anew.
    def __cinit__(self, opening, closing, closers):
        cdef int32_t *numbers
        cdef Py_ssize_t i, matched = 0
        self.opening, self.closing, self.closers = tuple(opening), tuple(closing), tuple(closers)
        if not self.closing or len(self.closing) != len(self.closers):
            raise ValueError(f"a closing marker of {len(self.closing)} symbols with {len(self.closers)} closers")
        borders = [0] * len(self.closing)
        for i in range(1, len(self.closing)):
            while matched > 0 and self.closing[matched] != self.closing[i]:
                matched = borders[matched - 1]
            if self.closing[matched] == self.closing[i]:
                matched += 1
            borders[i] = matched
        values = (*self.opening, *self.closing, *borders, *self.closers)
        numbers = <int32_t *> malloc(len(values) * sizeof(int32_t))
        if numbers == NULL:
            raise MemoryError
        self.c.numbers = numbers
        for i in range(len(values)):
            numbers[i] = values[i]
        self.c.n_open, self.c.n_close = <int32_t> len(self.opening), <int32_t> len(self.closing)

    def __dealloc__(self):
        free(<void *> self.c.numbers)
