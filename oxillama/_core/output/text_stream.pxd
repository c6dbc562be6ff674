"""Generated tokens become text: whole characters only, and nothing of a stop string.

The functions on TextStreamState need no GIL and never allocate; one writer at a time. The state borrows the token
table, so whoever holds a state keeps the TextStream (and with it the table) alive.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from oxillama._core.output.thinking cimport ThinkingMarks, ox_thinking, ox_thinking_marks
from oxillama._core.output.vocab cimport TokenTable, TokenView


ctypedef struct TextStreamState:
    const TokenView* view
    uint8_t skip  # tokens with one of these flags write nothing

    # The character that is not complete yet, as raw bytes.
    uint8_t[4] partial
    uint32_t num_partial
    uint32_t num_missing  # continuation bytes still to come
    uint8_t low  # bounds of the next continuation byte (Unicode 15, table 3-7)
    uint8_t high

    # Stop strings, one after another; border[i] belongs to stop_bytes[i] (Knuth, Morris, Pratt 1977).
    int32_t num_stops
    const uint8_t* stop_bytes
    const uint32_t* border
    const uint32_t* stop_offsets  # [num_stops + 1]
    uint32_t* matched  # [num_stops]: bytes of each stop string that the text ends with

    # Stop strings do not count while one of these is set.
    bint is_early  # set by the owner: too early for them
    bint is_inside  # thinking, whose markers belong to it
    bint watches  # for the end of thinking, or for its beginning
    ox_thinking_marks marks
    ox_thinking thinking

    # Text that may still turn out to belong to a stop string.
    uint8_t* held
    uint32_t num_held
    int64_t num_released  # bytes of text handed out; held[0] is at this position

    int64_t stop_start  # position of the leftmost complete stop string so far, -1 = none
    int32_t stop_index  # which one, -1 = none
    bint ended  # a stop string is settled, or finish was called: later tokens write nothing


# Both write the text that is now certain to `out`, which must hold `capacity` bytes, and return its length in bytes.
cdef uint32_t push_token(TextStreamState* state, int32_t token, uint8_t* out) noexcept nogil
cdef uint32_t finish_text(TextStreamState* state, uint8_t* out) noexcept nogil
cdef void reset_text(TextStreamState* state, bint is_open) noexcept nogil


cdef class TextStream:
    cdef TextStreamState state
    cdef readonly TokenTable table
    cdef readonly tuple stops
    cdef readonly bint is_open
    # Most bytes that one push_token or finish_text can write.
    cdef readonly uint32_t capacity
    cdef void* _memory
    cdef uint8_t* _out

    # Moves the stream to where Python is not needed: `state` works as long as the token table lives and until the
    # caller frees the returned memory. This object is used up.
    cdef void* surrender(self, TextStreamState* state) except NULL
    cdef void _allocate(self, list encoded, ThinkingMarks thinking) except *
