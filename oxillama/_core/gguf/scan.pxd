from libc.stdint cimport uint8_t, uint32_t, uint64_t

# The numbers under which metadata values store their type.
cdef enum:
    GGUF_UINT8 = 0
    GGUF_INT8 = 1
    GGUF_UINT16 = 2
    GGUF_INT16 = 3
    GGUF_UINT32 = 4
    GGUF_INT32 = 5
    GGUF_FLOAT32 = 6
    GGUF_BOOL = 7
    GGUF_STRING = 8
    GGUF_ARRAY = 9
    GGUF_UINT64 = 10
    GGUF_INT64 = 11
    GGUF_FLOAT64 = 12
    GGUF_VALUE_TYPE_COUNT = 13

cdef enum ScanFault:
    SCAN_OK = 0
    SCAN_TRUNCATED = 1    # `found` bytes were needed at `pos`
    SCAN_COUNT = 2        # a count of `found` elements, more than the rest of the file can hold
    SCAN_TYPE = 3         # value type number `found`
    SCAN_BOOL = 4         # a boolean with the value `found`
    SCAN_DEPTH = 5        # arrays nested deeper than MAX_ARRAY_DEPTH

cdef enum:
    MAX_ARRAY_DEPTH = 8

cdef struct Scan:
    const uint8_t* base
    uint64_t size         # bytes at base
    uint64_t pos          # next byte to read, never beyond size; after a fault: the byte that is wrong
    uint64_t found        # meaning depends on the fault
    ScanFault fault       # once set, every scan function returns without moving

# Little-endian integers at any address, without bounds checks.
cdef uint32_t read_u32(const uint8_t* p) noexcept nogil
cdef uint64_t read_u64(const uint8_t* p) noexcept nogil

# Bytes of a value of a fixed-size type, or 0 for strings, arrays and unknown types.
cdef uint64_t value_size(uint32_t value_type) noexcept nogil

# Each moves past what it reads and returns it, or sets the fault and returns 0.
cdef uint32_t scan_u32(Scan* scan) noexcept nogil
cdef uint64_t scan_u64(Scan* scan) noexcept nogil
# A 64-bit element count; a fault if the rest of the file is too short for that many elements of `least_bytes` each.
cdef uint64_t scan_count(Scan* scan, uint64_t least_bytes) noexcept nogil
# Moves past `n_bytes` bytes.
cdef bint scan_bytes(Scan* scan, uint64_t n_bytes) noexcept nogil
# A string's length; `pos` is then behind its last byte.
cdef uint64_t scan_string(Scan* scan) noexcept nogil
# Moves past one value of the given type, arrays included, and checks all of it but the encoding of strings.
# `depth` is the number of arrays around it.
cdef bint scan_value(Scan* scan, uint32_t value_type, int depth) noexcept nogil
