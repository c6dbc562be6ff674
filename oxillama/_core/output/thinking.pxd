"""Where a reply thinks: the marker that opens thinking, the one that closes it, and how far an output is with both.

Markers are sequences of symbols: a byte that a token writes is itself, a token that writes nothing is 256 plus its id.
So text that only looks like a control token is none, and a marker may be cut into tokens in any way.
"""

from libc.stdint cimport int32_t, uint8_t

from oxillama._core.output.vocab cimport TokenView

cdef enum:
    OX_HIDDEN_SYMBOL = 256   # plus the id of a token that writes nothing

cdef enum ox_thinking_place:
    OX_THINKING_AHEAD = 0    # nothing but white space and the beginning of the opening marker so far
    OX_THINKING_INSIDE = 1
    OX_THINKING_OVER = 2     # it was closed, or there is none: it comes first or not at all

# Borrowed: [n_open] symbols, then for each of [n_close]: the symbol, its border (Knuth, Morris, Pratt 1977), and the
# token that goes on with the closing marker where so many of its symbols have been written.
ctypedef struct ox_thinking_marks:
    int32_t n_open
    int32_t n_close
    const int32_t *numbers   # [n_open + 3 * n_close]

ctypedef struct ox_thinking:
    ox_thinking_place place
    int32_t matched          # symbols of the marker that is looked for, which are the last ones written
    int32_t num_tokens       # that began inside
    int32_t num_missing      # bytes of the last character that are still to come

# The state at the beginning of an output.
cdef void thinking_start(const ox_thinking_marks *marks, bint is_open, ox_thinking *state) noexcept nogil
cdef void thinking_symbol(const ox_thinking_marks *marks, ox_thinking *state, int32_t symbol) noexcept nogil
cdef bint thinking_has(const ox_thinking_marks *marks, int32_t symbol) noexcept nogil
# All symbols of a token; one that writes nothing is a symbol only where a marker has it. skip: flags of tokens that
# write nothing.
cdef void thinking_token(const ox_thinking_marks *marks, const TokenView *view, uint8_t skip, ox_thinking *state,
                         int32_t token) noexcept nogil
# The token that goes on with the closing marker.
cdef int32_t thinking_closer(const ox_thinking_marks *marks, const ox_thinking *state) noexcept nogil


# The markers of a model's thinking. Immutable.
cdef class ThinkingMarks:
    cdef ox_thinking_marks c
    cdef readonly tuple opening
    cdef readonly tuple closing
    cdef readonly tuple closers
