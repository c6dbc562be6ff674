"""Generated tokens become text: whole characters only, and nothing of a stop string.

Two stages: bytes become valid UTF-8, with U+FFFD as Python's decoder puts it; then one Knuth-Morris-Pratt matcher per
stop string decides how much of it is certain. In a reply that thinks they begin behind its thinking. It knows nothing
of end-of-generation tokens or of requests.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from oxillama._core.output.thinking cimport (
    OX_HIDDEN_SYMBOL,
    OX_THINKING_AHEAD,
    OX_THINKING_INSIDE,
    OX_THINKING_OVER,
    ox_thinking_place,
    thinking_has,
    thinking_start,
    thinking_symbol,
)
from oxillama._core.output.vocab cimport HIDDEN, TokenTable
from oxillama.errors import InvalidRequestError

cdef const uint8_t* REPLACEMENT = b"\xef\xbf\xbd"


cdef inline void start_character(TextStreamState* state, uint8_t byte) noexcept nogil:
    # The second byte's range depends on the first (no overlong forms, no surrogates, nothing above U+10FFFF).
    state.low = 0xA0 if byte == 0xE0 else (0x90 if byte == 0xF0 else 0x80)
    state.high = 0x9F if byte == 0xED else (0x8F if byte == 0xF4 else 0xBF)
    if byte >= 0xF0:
        state.num_missing = 3
    elif byte >= 0xE0:
        state.num_missing = 2
    else:
        state.num_missing = 1
    state.partial[0] = byte
    state.num_partial = 1


cdef inline void match_byte(TextStreamState* state, uint8_t byte) noexcept nogil:
    cdef int64_t end = state.num_released + state.num_held + 1, start
    cdef uint32_t length, matched
    cdef const uint8_t* stop
    cdef const uint32_t* border
    cdef int32_t i
    state.held[state.num_held] = byte
    state.num_held += 1
    if state.is_early or state.is_inside:
        return
    for i in range(state.num_stops):
        stop = state.stop_bytes + state.stop_offsets[i]
        border = state.border + state.stop_offsets[i]
        length = state.stop_offsets[i + 1] - state.stop_offsets[i]
        matched = state.matched[i]
        while matched > 0 and (matched == length or stop[matched] != byte):
            matched = border[matched - 1]
        if stop[matched] == byte:
            matched += 1
        state.matched[i] = matched
        start = end - length
        if matched == length and (state.stop_index < 0 or start < state.stop_start):
            state.stop_start = start
            state.stop_index = i


cdef inline int64_t held_from(TextStreamState* state) noexcept nogil:
    # Position of the first byte that a stop string in progress would take.
    cdef uint32_t longest = 0
    cdef int32_t i
    for i in range(state.num_stops):
        if state.matched[i] > longest:
            longest = state.matched[i]
    return state.num_released + state.num_held - longest


cdef inline void add_text(TextStreamState* state, const uint8_t* text, uint32_t length) noexcept nogil:
    cdef uint32_t i
    for i in range(length):
        match_byte(state, text[i])
        # Settled once nothing that began before the complete stop string can still become one.
        if state.stop_index >= 0 and held_from(state) >= state.stop_start:
            state.ended = True
            return


cdef void add_byte(TextStreamState* state, uint8_t byte) noexcept nogil:
    if state.num_missing > 0:
        if state.low <= byte <= state.high:
            state.partial[state.num_partial] = byte
            state.num_partial += 1
            state.num_missing -= 1
            state.low = 0x80
            state.high = 0xBF
            if state.num_missing == 0:
                add_text(state, state.partial, state.num_partial)
            return
        # One U+FFFD for the longest valid beginning, then the byte is looked at afresh.
        state.num_missing = 0
        add_text(state, REPLACEMENT, 3)
        if state.ended:
            return
    if byte < 0x80:
        add_text(state, &byte, 1)
    elif 0xC2 <= byte <= 0xF4:
        start_character(state, byte)
    else:
        add_text(state, REPLACEMENT, 3)


cdef uint32_t release(TextStreamState* state, int64_t until, uint8_t* out) noexcept nogil:
    cdef uint32_t length = <uint32_t>(until - state.num_released)
    memcpy(out, state.held, length)
    state.num_held -= length
    memmove(state.held, state.held + length, state.num_held)
    state.num_released = until
    return length


cdef uint32_t release_last(TextStreamState* state, int64_t until, uint8_t* out) noexcept nogil:
    cdef uint32_t length = release(state, until, out)
    state.num_held = 0
    return length


cdef void add_opening(TextStreamState* state, int32_t num_symbols) noexcept nogil:
    # What may have become the opening marker, and was kept back as such.
    cdef int32_t i
    for i in range(num_symbols):
        if state.marks.numbers[i] < OX_HIDDEN_SYMBOL and not state.ended:
            add_byte(state, <uint8_t>state.marks.numbers[i])


cdef void add_symbol(TextStreamState* state, int32_t symbol) noexcept nogil:
    cdef ox_thinking_place before = state.thinking.place
    cdef int32_t i, num_kept = state.thinking.matched
    thinking_symbol(&state.marks, &state.thinking, symbol)
    if before == OX_THINKING_AHEAD and state.thinking.place == OX_THINKING_INSIDE:
        # No stop string reaches into thinking: what is complete stands, what is not will never be.
        if state.stop_index >= 0:
            state.ended = True
            return
        for i in range(state.num_stops):
            state.matched[i] = 0
        state.is_inside = True
        add_opening(state, state.marks.n_open)
        return
    if before == OX_THINKING_AHEAD:
        if state.thinking.place == OX_THINKING_AHEAD and state.thinking.matched > 0:
            return
        add_opening(state, num_kept)
    if symbol < OX_HIDDEN_SYMBOL and not state.ended:
        add_byte(state, <uint8_t>symbol)
    if state.thinking.place == OX_THINKING_OVER:
        state.is_inside = state.watches = False


cdef uint32_t push_token(TextStreamState* state, int32_t token, uint8_t* out) noexcept nogil:
    if state.ended or token < 0 or token >= state.view.num_tokens:
        return 0
    cdef uint32_t i
    if state.view.flags[token] & state.skip:
        if not state.watches or not thinking_has(&state.marks, OX_HIDDEN_SYMBOL + token):
            return 0
        add_symbol(state, OX_HIDDEN_SYMBOL + token)
        return release_last(state, state.stop_start, out) if state.ended else release(state, held_from(state), out)
    for i in range(state.view.offsets[token], state.view.offsets[token + 1]):
        if state.watches:
            add_symbol(state, state.view.blob[i])
        else:
            add_byte(state, state.view.blob[i])
        if state.ended:
            return release_last(state, state.stop_start, out)
    # A complete stop string that is not settled starts after what is held.
    return release(state, held_from(state), out)


cdef uint32_t finish_text(TextStreamState* state, uint8_t* out) noexcept nogil:
    if state.ended:
        return 0
    if state.watches and state.thinking.place == OX_THINKING_AHEAD:
        add_opening(state, state.thinking.matched)
    if state.num_missing > 0 and not state.ended:
        state.num_missing = 0
        add_text(state, REPLACEMENT, 3)
    state.ended = True
    if state.stop_index >= 0:
        return release_last(state, state.stop_start, out)
    return release_last(state, state.num_released + state.num_held, out)


cdef void reset_text(TextStreamState* state, bint is_open) noexcept nogil:
    cdef int32_t i
    state.watches = state.marks.n_close > 0
    if state.watches:
        thinking_start(&state.marks, is_open, &state.thinking)
    state.is_inside = state.watches and state.thinking.place == OX_THINKING_INSIDE
    for i in range(state.num_stops):
        state.matched[i] = 0
    state.num_partial = state.num_missing = state.num_held = 0
    state.num_released = 0
    state.stop_start = state.stop_index = -1
    state.ended = False


cdef bytes encode_stop(stop):
    if not isinstance(stop, str) or not stop:
        raise InvalidRequestError(f"a stop string must be a non-empty str, found {stop!r}", param="stop")
    try:
        return stop.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"a stop string must be valid Unicode, found a lone surrogate at index {error.start}", param="stop"
        ) from None


cdef void fill_borders(const uint8_t* stop, uint32_t length, uint32_t* border) noexcept:
    # border[i]: length of the longest proper prefix of stop that ends at stop[i].
    cdef uint32_t i, matched = 0
    border[0] = 0
    for i in range(1, length):
        while matched > 0 and stop[matched] != stop[i]:
            matched = border[matched - 1]
        if stop[matched] == stop[i]:
            matched += 1
        border[i] = matched


cdef class TextStream:
    # Not __init__: an object that exists is whole, and what other threads may be reading is never built anew.
    def __cinit__(self, TokenTable table not None, stops=(), *, uint8_t skip=HIDDEN, ThinkingMarks thinking=None,
                  bint is_open=False):
        self._memory = NULL
        if isinstance(stops, str):
            raise InvalidRequestError("stop strings are a sequence of str, found one str", param="stop")
        self.table = table
        self.stops = tuple(stops)
        self.state.view = &table.view
        self.state.skip = skip
        self.is_open = is_open
        self._allocate([encode_stop(stop) for stop in self.stops], thinking)
        reset_text(&self.state, is_open)

    cdef void _allocate(self, list encoded, ThinkingMarks thinking) except *:
        cdef bytes stop_bytes = b"".join(encoded)
        cdef size_t num_stops = len(encoded), num_bytes = len(stop_bytes)
        # Held text never exceeds the longest stop string; a token of n bytes, all invalid, adds 3 n bytes and
        # may complete or break a character of 4.
        cdef size_t longest_stop = max(map(len, encoded), default=0)
        # The beginning of an opening marker is handed out when it is known to be one, or to be none.
        cdef size_t num_marks = 0 if thinking is None else thinking.c.n_open + 3 * <size_t>thinking.c.n_close
        cdef size_t num_opening = 0 if thinking is None else thinking.c.n_open
        cdef size_t capacity = longest_stop + num_opening + 3 * <size_t>self.table.view.longest + 8
        if capacity + num_bytes >= 1 << 30:
            raise InvalidRequestError(f"{num_bytes} bytes of stop strings are too many", param="stop")
        # Layout, widest first: borders, offsets, counts (uint32) and marks, then held, out and stop strings (bytes).
        cdef size_t num_words = num_bytes + (num_stops + 1) + num_stops + num_marks
        self._memory = calloc(num_words * sizeof(uint32_t) + 2 * capacity + num_bytes, 1)
        if self._memory == NULL:
            raise MemoryError(f"no memory for a text stream of {capacity} bytes")
        cdef uint32_t* words = <uint32_t*>self._memory
        cdef uint32_t* stop_offsets = words + num_bytes
        self.capacity = <uint32_t>capacity
        self.state.num_stops = <int32_t>num_stops
        self.state.border = words
        self.state.stop_offsets = stop_offsets
        self.state.matched = stop_offsets + num_stops + 1
        if thinking is not None:
            self.state.marks = thinking.c
            self.state.marks.numbers = <int32_t*>(words + num_words - num_marks)
            memcpy(words + num_words - num_marks, thinking.c.numbers, num_marks * sizeof(int32_t))
        self.state.held = <uint8_t*>(words + num_words)
        self._out = self.state.held + capacity
        # The bytes too, so that the memory is all that a state needs.
        memcpy(self._out + capacity, <const char*>stop_bytes, num_bytes)
        self.state.stop_bytes = self._out + capacity
        cdef size_t i
        for i in range(num_stops):
            stop_offsets[i + 1] = stop_offsets[i] + <uint32_t>len(encoded[i])
            fill_borders(self.state.stop_bytes + stop_offsets[i], <uint32_t>len(encoded[i]), words + stop_offsets[i])

    def __dealloc__(self):
        free(self._memory)

    cdef void* surrender(self, TextStreamState* state) except NULL:
        cdef void* memory = self._memory
        if memory == NULL:
            raise ValueError("the text stream was given away already")
        state[0] = self.state
        self._memory = NULL
        self.state.ended = True
        return memory

    def push(self, int32_t token):
        cdef uint32_t length = push_token(&self.state, token, self._out)
        return self._out[:length].decode()

    def finish(self):
        cdef uint32_t length = finish_text(&self.state, self._out)
        return self._out[:length].decode()

    def reset(self):
        if self._memory == NULL:
            raise ValueError("the text stream was given away")
        reset_text(&self.state, self.is_open)

    @property
    def stopped(self):
        return self.state.ended and self.state.stop_index >= 0

    @property
    def stop(self):
        return self.stops[self.state.stop_index] if self.state.ended and self.state.stop_index >= 0 else None

    @property
    def num_held(self):
        return self.state.num_held
