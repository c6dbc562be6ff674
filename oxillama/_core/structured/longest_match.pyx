"""Tokens by the longest match: an index of all pieces by the hash of their bytes; the contract stands in the .pxd."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from oxillama._core.atomics cimport ox_fetch_add_acq_rel_i32, ox_fetch_add_relaxed_i32, ox_store_relaxed_i32
from oxillama._core.output.vocab cimport BYTE

cdef uint64_t HASH_BEGIN = 0xCBF29CE484222325ULL


cdef inline uint64_t hash_on(uint64_t value, uint8_t byte) noexcept nogil:
    # FNV-1a, which goes on from any prefix.
    return (value ^ byte) * 0x100000001B3ULL


cdef inline uint32_t slot_of(const ox_longest_match *m, uint64_t value) noexcept nogil:
    return <uint32_t> (value ^ (value >> 32)) & m.mask


cdef inline uint32_t pair_of(const uint8_t *text, size_t n_bytes) noexcept nogil:
    return <uint32_t> text[0] << 8 | (text[1] if n_bytes > 1 else 0)


cdef int32_t find(const ox_longest_match *m, uint64_t value, const uint8_t *text, uint32_t length) noexcept nogil:
    cdef uint32_t slot = slot_of(m, value)
    cdef int32_t token
    while True:
        token = m.slots[slot]
        if token < 0:
            return -1
        if m.offsets[token + 1] - m.offsets[token] == length and (
            memcmp(m.blob + m.offsets[token], text, length) == 0
        ):
            return token
        slot = (slot + 1) & m.mask


cdef void add(ox_longest_match *m, int32_t token) noexcept nogil:
    cdef const uint8_t *text = m.blob + m.offsets[token]
    cdef uint32_t i, slot, length = m.offsets[token + 1] - m.offsets[token]
    cdef uint64_t value = HASH_BEGIN
    for i in range(length):
        value = hash_on(value, text[i])
    if find(m, value, text, length) >= 0:
        return  # of several with the same bytes the first, and texts come before bytes
    slot = slot_of(m, value)
    while m.slots[slot] >= 0:
        slot = (slot + 1) & m.mask
    m.slots[slot] = token
    if length > 1:
        i = pair_of(text, length)
        m.longest[i] = <uint16_t> max(<uint32_t> m.longest[i], min(length, <uint32_t> 65535))


cdef ox_longest_match *longest_match_create(const TokenView *view, const uint8_t *special,
                                            int32_t unwritable) noexcept nogil:
    cdef ox_longest_match *m = <ox_longest_match *> calloc(1, sizeof(ox_longest_match))
    cdef uint32_t n_slots = 16, n_bytes
    cdef int32_t token, turn
    if m == NULL:
        return NULL
    while n_slots < 2 * <uint32_t> view.num_tokens:
        n_slots *= 2
    n_bytes = view.offsets[view.num_tokens]
    ox_store_relaxed_i32(&m.num_references, 1)
    m.n_tokens = view.num_tokens
    m.unwritable = unwritable
    m.mask = n_slots - 1
    m.blob = <uint8_t *> malloc(n_bytes + 1)
    m.offsets = <uint32_t *> malloc((<size_t> view.num_tokens + 1) * sizeof(uint32_t))
    m.slots = <int32_t *> malloc(n_slots * sizeof(int32_t))
    m.longest = <uint16_t *> calloc(65536, sizeof(uint16_t))
    if m.blob == NULL or m.offsets == NULL or m.slots == NULL or m.longest == NULL:
        longest_match_unref(m)
        return NULL
    memcpy(m.blob, view.blob, n_bytes)
    memcpy(m.offsets, view.offsets, (<size_t> view.num_tokens + 1) * sizeof(uint32_t))
    memset(m.slots, 0xFF, n_slots * sizeof(int32_t))
    for turn in range(2):
        for token in range(view.num_tokens):
            if special[token] or view.offsets[token + 1] == view.offsets[token]:
                continue
            if (turn == 1) == ((view.flags[token] & BYTE) != 0):
                add(m, token)
    return m


cdef ox_longest_match *longest_match_ref(ox_longest_match *m) noexcept nogil:
    ox_fetch_add_relaxed_i32(&m.num_references, 1)
    return m


cdef void longest_match_unref(ox_longest_match *m) noexcept nogil:
    if m == NULL or ox_fetch_add_acq_rel_i32(&m.num_references, -1) != 1:
        return
    free(m.blob)
    free(m.offsets)
    free(m.slots)
    free(m.longest)
    free(m)


cdef int32_t match(const ox_longest_match *m, const uint8_t *text, size_t n_bytes, size_t *length) noexcept nogil:
    """The longest token that `text` [n_bytes] begins with, or -1."""
    cdef uint64_t value = hash_on(HASH_BEGIN, text[0])
    cdef int32_t found = find(m, value, text, 1), token
    cdef size_t i, most = min(n_bytes, <size_t> m.longest[pair_of(text, n_bytes)]) if n_bytes > 1 else 1
    length[0] = 1
    for i in range(1, most):
        value = hash_on(value, text[i])
        token = find(m, value, text, <uint32_t> (i + 1))
        if token >= 0:
            found = token
            length[0] = i + 1
    return found


cdef size_t longest_match_tokenize(const void *user, const uint8_t *text, size_t n_bytes, uint32_t *tokens,
                                   size_t n_tokens) noexcept nogil:
    cdef const ox_longest_match *m = <const ox_longest_match *> user
    cdef size_t place = 0, length = 0, n = 0
    cdef int32_t token
    n_bytes = min(n_bytes, <size_t> OX_MATCH_WINDOW)
    while place < n_bytes:
        token = match(m, text + place, n_bytes - place, &length)
        if n < n_tokens:
            tokens[n] = <uint32_t> (m.unwritable if token < 0 else token)
        n += 1
        if token < 0:
            break
        place += length
    return n
