"""Walks over the values of a GGUF file without trusting them and without Python objects."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


cdef uint32_t read_u32(const uint8_t* p) noexcept nogil:
    return p[0] | <uint32_t> p[1] << 8 | <uint32_t> p[2] << 16 | <uint32_t> p[3] << 24


cdef uint64_t read_u64(const uint8_t* p) noexcept nogil:
    return read_u32(p) | <uint64_t> read_u32(p + 4) << 32


cdef uint64_t value_size(uint32_t value_type) noexcept nogil:
    if value_type in (GGUF_UINT8, GGUF_INT8, GGUF_BOOL):
        return 1
    if value_type in (GGUF_UINT16, GGUF_INT16):
        return 2
    if value_type in (GGUF_UINT32, GGUF_INT32, GGUF_FLOAT32):
        return 4
    if value_type in (GGUF_UINT64, GGUF_INT64, GGUF_FLOAT64):
        return 8
    return 0


# The fewest bytes a value can take, so that a count can be refused before anything is read or allocated.
cdef uint64_t least_size(uint32_t value_type) noexcept nogil:
    if value_type == GGUF_STRING:
        return 8
    if value_type == GGUF_ARRAY:
        return 12
    return value_size(value_type)


cdef bint fail(Scan* scan, ScanFault fault, uint64_t found) noexcept nogil:
    scan.fault = fault
    scan.found = found
    return False


cdef bint scan_bytes(Scan* scan, uint64_t n_bytes) noexcept nogil:
    if scan.fault != SCAN_OK:
        return False
    if n_bytes > scan.size - scan.pos:
        return fail(scan, SCAN_TRUNCATED, n_bytes)
    scan.pos += n_bytes
    return True


cdef uint32_t scan_u32(Scan* scan) noexcept nogil:
    return read_u32(scan.base + scan.pos - 4) if scan_bytes(scan, 4) else 0


cdef uint64_t scan_u64(Scan* scan) noexcept nogil:
    return read_u64(scan.base + scan.pos - 8) if scan_bytes(scan, 8) else 0


cdef uint64_t scan_count(Scan* scan, uint64_t least_bytes) noexcept nogil:
    cdef uint64_t count = scan_u64(scan)
    if scan.fault == SCAN_OK and count > (scan.size - scan.pos) // least_bytes:
        scan.pos -= 8
        fail(scan, SCAN_COUNT, count)
        return 0
    return count


cdef uint64_t scan_string(Scan* scan) noexcept nogil:
    cdef uint64_t length = scan_u64(scan)
    return length if scan_bytes(scan, length) else 0


cdef bint scan_value(Scan* scan, uint32_t value_type, int depth) noexcept nogil:
    cdef uint32_t element_type
    cdef uint64_t count, _i
    if scan.fault != SCAN_OK:
        return False
    if value_type >= GGUF_VALUE_TYPE_COUNT:
        scan.pos -= 4  # back to the type number, which every caller has just read
        return fail(scan, SCAN_TYPE, value_type)
    if value_type == GGUF_STRING:
        scan_string(scan)
        return scan.fault == SCAN_OK
    if value_type == GGUF_BOOL:
        return scan_bytes(scan, 1) and check_bools(scan, 1)
    if value_type != GGUF_ARRAY:
        return scan_bytes(scan, value_size(value_type))

    if depth >= MAX_ARRAY_DEPTH:
        return fail(scan, SCAN_DEPTH, depth + 1)
    element_type = scan_u32(scan)
    if scan.fault != SCAN_OK:
        return False
    if element_type >= GGUF_VALUE_TYPE_COUNT:
        scan.pos -= 4
        return fail(scan, SCAN_TYPE, element_type)
    count = scan_count(scan, least_size(element_type))
    if element_type == GGUF_STRING:
        for _i in range(count):
            scan_string(scan)
            if scan.fault != SCAN_OK:
                return False
    elif element_type == GGUF_ARRAY:
        for _i in range(count):
            if not scan_value(scan, GGUF_ARRAY, depth + 1):
                return False
    else:
        # No overflow: scan_count has compared the count with what is left of the file.
        if not scan_bytes(scan, count * value_size(element_type)):
            return False
        if element_type == GGUF_BOOL:
            return check_bools(scan, count)
    return scan.fault == SCAN_OK


# The last `count` bytes must each be 0 or 1.
cdef bint check_bools(Scan* scan, uint64_t count) noexcept nogil:
    cdef uint64_t i
    cdef const uint8_t* values = scan.base + scan.pos - count
    for i in range(count):
        if values[i] > 1:
            scan.pos = scan.pos - count + i
            return fail(scan, SCAN_BOOL, values[i])
    return True
