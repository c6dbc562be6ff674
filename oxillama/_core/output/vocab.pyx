"""The vocabulary as bytes: what every token writes, and the way back from bytes to the token.

Compact on purpose: a blob, 4 bytes of offset and 1 byte of flags per token. It knows nothing of text, merges or files.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int16_t, int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from oxillama.errors import ModelLoadError

# The flag of each GGUF token type 0 (undefined) .. 6 (byte).
cdef uint8_t[7] FLAG_OF_TYPE = [0, NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE]

# Far above any real token (about 1000 bytes); every text stream allocates a multiple of the longest piece.
cdef enum:
    MAX_PIECE = 1 << 20

# The byte-level alphabet of GPT-2 (Radford et al. 2019, encoder.py): code point -> byte, -1 = not in the alphabet.
cdef int16_t[324] BYTE_OF_CODE_POINT


cdef void fill_byte_alphabet() noexcept:
    cdef int byte, next_free = 256
    for byte in range(324):
        BYTE_OF_CODE_POINT[byte] = -1
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or 0xAE <= byte:
            BYTE_OF_CODE_POINT[byte] = byte
        else:
            BYTE_OF_CODE_POINT[next_free] = byte
            next_free += 1


fill_byte_alphabet()


cdef Py_ssize_t decode_byte_level(const uint8_t* text, Py_ssize_t length, uint8_t* out) noexcept nogil:
    # A character outside the alphabet stands for itself: added tokens are often written plainly.
    cdef Py_ssize_t i = 0, written = 0
    cdef int code_point
    while i < length:
        code_point = text[i]
        if code_point >= 0xC2 and code_point <= 0xC5 and i + 1 < length and text[i + 1] & 0xC0 == 0x80:
            code_point = (code_point & 0x1F) << 6 | (text[i + 1] & 0x3F)
            if code_point < 324 and BYTE_OF_CODE_POINT[code_point] >= 0:
                out[written] = <uint8_t>BYTE_OF_CODE_POINT[code_point]
                written += 1
                i += 2
                continue
        out[written] = text[i]
        written += 1
        i += 1
    return written


cdef Py_ssize_t decode_escaped(const uint8_t* text, Py_ssize_t length, uint8_t* out) noexcept nogil:
    # U+2581 is E2 96 81 and stands for a space.
    cdef Py_ssize_t i = 0, written = 0
    while i < length:
        if text[i] == 0xE2 and i + 2 < length and text[i + 1] == 0x96 and text[i + 2] == 0x81:
            out[written] = 0x20
            i += 3
        else:
            out[written] = text[i]
            i += 1
        written += 1
    return written


cdef int hex_digit(uint8_t char) noexcept nogil:
    if 48 <= char <= 57:
        return char - 48
    if 65 <= char <= 70:
        return char - 55
    if 97 <= char <= 102:
        return char - 87
    return -1


cdef int decode_byte_token(const uint8_t* text, Py_ssize_t length) noexcept nogil:
    # "<0xNN>" -> 0xNN, or -1
    if length != 6 or memcmp(text, b"<0x", 3) != 0 or text[5] != 62:
        return -1
    cdef int high = hex_digit(text[3]), low = hex_digit(text[4])
    return -1 if high < 0 or low < 0 else high << 4 | low


cdef uint32_t hash_bytes(const uint8_t* piece, uint32_t length) noexcept nogil:
    # FNV-1a with a final mix, since the table masks the low bits.
    cdef uint64_t value = 0xCBF29CE484222325ULL
    cdef uint32_t i
    for i in range(length):
        value = (value ^ piece[i]) * 0x100000001B3ULL
    return <uint32_t>(value ^ (value >> 32))


cdef int find_rank(uint8_t flags) noexcept nogil:
    # The order in which tokens that write the same bytes are preferred by find().
    if flags & HIDDEN:
        return 2
    return 1 if flags & BYTE else 0


cdef class TokenTable:
    # Not __init__: others hold pointers into the table, so it is never built anew.
    def __cinit__(self, texts, types=None, *, bint byte_level):
        self._slots = NULL
        cdef list items = texts if type(texts) is list else list(texts)
        cdef Py_ssize_t num_tokens = len(items), capacity = 0, i
        cdef bytes text
        if num_tokens >= 1 << 30:
            raise ModelLoadError(f"the vocabulary claims {num_tokens} tokens; at most 2**30 - 1 are supported")
        for text in items:
            capacity += PyBytes_GET_SIZE(text)
        if capacity >= 1 << 32:
            raise ModelLoadError(f"the vocabulary holds {capacity} bytes of text; less than 4 GiB is supported")
        self._flags = self._read_types(types, num_tokens)
        self._flags_view = memoryview(self._flags)
        self._offsets = PyBytes_FromStringAndSize(NULL, (num_tokens + 1) * sizeof(uint32_t))
        cdef uint8_t* pieces = <uint8_t*>malloc(capacity + 1)
        if pieces == NULL:
            raise MemoryError(f"no memory for {capacity} bytes of vocabulary")
        try:
            self._blob = self._decode(items, pieces, byte_level)
        finally:
            free(pieces)
        self.view.num_tokens = <int32_t>num_tokens
        self.view.blob = <const uint8_t*>PyBytes_AS_STRING(self._blob)
        self.view.offsets = <const uint32_t*>PyBytes_AS_STRING(self._offsets)
        self.view.flags = <const uint8_t*>PyByteArray_AS_STRING(self._flags)
        self.view.longest = 0
        for i in range(num_tokens):
            self.view.longest = max(self.view.longest, self.view.offsets[i + 1] - self.view.offsets[i])
        if self.view.longest > MAX_PIECE:
            raise ModelLoadError(
                f"the longest token of the vocabulary has {self.view.longest} bytes; at most {MAX_PIECE} are supported"
            )

    def __dealloc__(self):
        free(self._slots)

    cdef bytearray _read_types(self, types, Py_ssize_t num_tokens):
        cdef bytearray flags = bytearray(num_tokens)
        cdef uint8_t* target = <uint8_t*>PyByteArray_AS_STRING(flags)
        cdef Py_ssize_t i
        cdef long kind
        if types is None:
            memset(target, NORMAL, num_tokens)
            return flags
        if len(types) != num_tokens:
            raise ModelLoadError(
                f"tokenizer.ggml.token_type has {len(types)} entries, but tokenizer.ggml.tokens has {num_tokens}"
            )
        for i, kind in enumerate(types.tolist() if hasattr(types, "tolist") else types):
            target[i] = FLAG_OF_TYPE[kind] if 0 <= kind <= 6 else 0
        return flags

    cdef bytes _decode(self, list items, uint8_t* pieces, bint byte_level):
        cdef uint32_t* offsets = <uint32_t*>PyBytes_AS_STRING(self._offsets)
        cdef const uint8_t* flags = <const uint8_t*>PyByteArray_AS_STRING(self._flags)
        cdef const uint8_t* source
        cdef Py_ssize_t i, length, written = 0
        cdef int byte
        cdef bytes text
        offsets[0] = 0
        for i in range(len(items)):
            text = <bytes>items[i]
            source = <const uint8_t*>PyBytes_AS_STRING(text)
            length = PyBytes_GET_SIZE(text)
            if flags[i] & NORMAL:
                if byte_level:
                    written += decode_byte_level(source, length, pieces + written)
                else:
                    written += decode_escaped(source, length, pieces + written)
            elif flags[i] & BYTE:
                byte = decode_byte_token(source, length)
                if byte < 0:
                    raise ModelLoadError(f"token {i} is of type byte, but its text is {text[:40]!r}, not <0xNN>")
                pieces[written] = <uint8_t>byte
                written += 1
            elif flags[i] & (CONTROL | UNKNOWN | USER_DEFINED):
                memcpy(pieces + written, source, length)
                written += length
            offsets[i + 1] = <uint32_t>written
        return PyBytes_FromStringAndSize(<const char*>pieces, written)

    cpdef void build_index(self) except *:
        if self._slots != NULL:
            return
        cdef uint32_t size = 16
        while size < 2 * <uint32_t>self.view.num_tokens:
            size *= 2
        cdef int32_t* slots = <int32_t*>malloc(size * sizeof(int32_t))
        if slots == NULL:
            raise MemoryError(f"no memory for an index of {self.view.num_tokens} tokens")
        with nogil:
            memset(slots, 0xFF, size * sizeof(int32_t))
            self._mask = size - 1
            self._slots = slots
            self._insert_all()

    cdef void _insert_all(self) noexcept nogil:
        cdef const uint32_t* offsets = self.view.offsets
        cdef const uint8_t* blob = self.view.blob
        cdef uint32_t slot, length
        cdef int32_t token, other
        for token in range(self.view.num_tokens):
            length = offsets[token + 1] - offsets[token]
            if length == 0:
                continue
            slot = hash_bytes(blob + offsets[token], length) & self._mask
            while self._slots[slot] >= 0:
                other = self._slots[slot]
                if offsets[other + 1] - offsets[other] == length and (
                    memcmp(blob + offsets[other], blob + offsets[token], length) == 0
                ):
                    break
                slot = (slot + 1) & self._mask
            other = self._slots[slot]
            if other < 0 or find_rank(self.view.flags[token]) < find_rank(self.view.flags[other]):
                self._slots[slot] = token

    cdef int32_t lookup(self, const uint8_t* piece, uint32_t length) noexcept nogil:
        cdef const uint32_t* offsets = self.view.offsets
        cdef uint32_t slot = hash_bytes(piece, length) & self._mask
        cdef int32_t token
        while True:
            token = self._slots[slot]
            if token < 0:
                return -1
            if offsets[token + 1] - offsets[token] == length and (
                memcmp(self.view.blob + offsets[token], piece, length) == 0
            ):
                return token
            slot = (slot + 1) & self._mask

    cdef int32_t _checked(self, token) except -1:
        if not 0 <= token < self.view.num_tokens:
            raise IndexError(f"token {token} is outside the vocabulary of {self.view.num_tokens} tokens")
        return <int32_t>token

    def __len__(self):
        return self.view.num_tokens

    def __getitem__(self, token):
        cdef int32_t index = self._checked(token)
        cdef uint32_t start = self.view.offsets[index]
        return PyBytes_FromStringAndSize(<const char*>self.view.blob + start, self.view.offsets[index + 1] - start)

    def find(self, bytes piece not None):
        self.build_index()
        if PyBytes_GET_SIZE(piece) > self.view.longest:
            return None
        cdef int32_t token = self.lookup(<const uint8_t*>PyBytes_AS_STRING(piece), <uint32_t>PyBytes_GET_SIZE(piece))
        return None if token < 0 else token

    def flag(self, token):
        return TokenFlag(self.view.flags[self._checked(token)])

    def set_flag(self, token, uint8_t flag):
        self._flags[self._checked(token)] = flag
        # The order of preference in the index depends on the flags.
        free(self._slots)
        self._slots = NULL

    def flagged(self, uint8_t mask):
        cdef int32_t token
        return [token for token in range(self.view.num_tokens) if self.view.flags[token] & mask]

    def join(self, tokens, *, uint8_t skip=0):
        cdef list parts = []
        for token in tokens:
            if not self.view.flags[self._checked(token)] & skip:
                parts.append(self[token])
        return b"".join(parts)

    @property
    def blob(self):
        return self._blob

    @property
    def offsets(self):
        return memoryview(self._offsets).cast("I")

    @property
    def flags(self):
        # A view of its own: one that threads share does not count them right where there is no GIL.
        return memoryview(self._flags).toreadonly()

    @property
    def longest(self):
        return self.view.longest
