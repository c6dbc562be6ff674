"""The vocabulary as bytes: what every token writes, in one blob that code without the GIL can read."""

from libc.stdint cimport int32_t, uint8_t, uint32_t


# Bits of a token's flags byte. One token may carry several.
cpdef enum TokenFlag:
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 4
    USER_DEFINED = 8
    UNUSED = 16
    BYTE = 32
    # Tokens with one of these bits write nothing into generated text.
    HIDDEN = 6


# Borrowed pointers; valid as long as the TokenTable that owns them.
ctypedef struct TokenView:
    int32_t num_tokens
    uint32_t longest  # bytes of the longest piece
    const uint8_t* blob  # all pieces, one after another
    const uint32_t* offsets  # [num_tokens + 1]; piece i is blob[offsets[i]:offsets[i + 1]]
    const uint8_t* flags  # [num_tokens], TokenFlag bits


cdef class TokenTable:
    cdef TokenView view
    cdef object _blob  # bytes
    cdef object _offsets  # bytes of uint32
    cdef object _flags  # bytearray, kept from growing by _flags_view
    cdef object _flags_view
    cdef int32_t* _slots  # open addressing, -1 = free; NULL until build_index()
    cdef uint32_t _mask

    cpdef void build_index(self) except *
    # The id that writes exactly these bytes, or -1. Needs build_index() to have run.
    cdef int32_t lookup(self, const uint8_t* piece, uint32_t length) noexcept nogil

    cdef bytearray _read_types(self, types, Py_ssize_t num_tokens)
    cdef bytes _decode(self, list items, uint8_t* pieces, bint byte_level)
    cdef void _insert_all(self) noexcept nogil
    cdef int32_t _checked(self, token) except -1
