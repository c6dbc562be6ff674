"""Decodes names and values of a GGUF file: scalars, strings, arrays in place. Not which keys a file must have."""

import numpy as np

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from oxillama._core.gguf.filemap cimport FileMap
from oxillama._core.gguf.scan cimport (
    GGUF_ARRAY,
    GGUF_BOOL,
    GGUF_FLOAT32,
    GGUF_INT8,
    GGUF_INT16,
    GGUF_INT32,
    GGUF_INT64,
    GGUF_STRING,
    GGUF_UINT8,
    GGUF_UINT16,
    GGUF_UINT32,
    GGUF_UINT64,
    GGUF_VALUE_TYPE_COUNT,
    MAX_ARRAY_DEPTH,
    SCAN_BOOL,
    SCAN_COUNT,
    SCAN_OK,
    SCAN_TRUNCATED,
    SCAN_TYPE,
    Scan,
    read_u32,
    read_u64,
    scan_bytes,
    scan_count,
    scan_string,
    scan_u32,
    scan_u64,
    scan_value,
)

from oxillama.errors import ModelLoadError

VALUE_TYPES = (
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array", "uint64", "int64",
    "float64",
)
NUMPY_TYPES = ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?", None, None, "<u8", "<i8", "<f8")

cdef enum:
    MAX_NAME_BYTES = 65535  # the specification's limit for keys; tensor names are held to it too


cdef class StringArray:
    """The strings of one metadata array, in place: ``len``, indexing and iteration give ``bytes``.

    Keeps the file's memory alive. ``array.text(i)`` decodes one string.
    """

    def __dealloc__(self):
        free(self.starts)

    def __init__(self):
        raise TypeError("a StringArray is made by the GGUF reader only")

    cdef const char* item(self, Py_ssize_t i, size_t* n) noexcept nogil:
        n[0] = self.starts[i + 1] - 8 - self.starts[i]
        return <const char*> self.file.base + self.starts[i]

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(self.count))]
        cdef size_t n
        cdef const char* start = self.item(index_of(self, i), &n)
        return PyBytes_FromStringAndSize(start, n)

    def __iter__(self):
        cdef Py_ssize_t i
        for i in range(self.count):
            yield self[i]

    def text(self, i):
        """String ``i`` as ``str``; ModelLoadError if it is not UTF-8."""
        cdef Py_ssize_t index = index_of(self, i)
        cdef size_t n
        cdef const char* start = self.item(index, &n)
        try:
            return PyUnicode_DecodeUTF8(start, n, NULL)
        except UnicodeDecodeError as error:
            at = self.starts[index] + error.start
            raise ModelLoadError(
                f"{self.place}: expected UTF-8 in element {index}, found {error.reason} (byte {at})"
            ) from None

    def __reduce__(self):
        # A copy, or what arrives in another process, is a list of bytes, which compares equal.
        return list, (list(self),)

    def __eq__(self, other):
        if not isinstance(other, (StringArray, list, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other))

    __hash__ = None

    def __repr__(self):
        return f"<StringArray of {self.count} strings>"


cdef class ValueReader:
    """Reads names and values one after another; turns every fault into a ModelLoadError that names the place."""

    def __cinit__(self, FileMap file not None, str path not None, uint64_t pos):
        self.file = file
        self.path = path
        self.scan = Scan(base=file.base, size=file.size, pos=pos, found=0, fault=SCAN_OK)

    cdef object error(self, str place, uint64_t at, str expected, object found):
        return ModelLoadError(f"{self.path}: {place}: expected {expected}, found {found} (byte {at})")

    # The one place where a fault of the scanner becomes an exception.
    cdef int check(self, str place) except -1:
        cdef uint64_t at = self.scan.pos
        cdef uint64_t found = self.scan.found
        cdef uint64_t left = self.scan.size - at
        if self.scan.fault == SCAN_OK:
            return 0
        if self.scan.fault == SCAN_TRUNCATED:
            raise self.error(place, at, f"{found} more bytes", f"{left} before the end of the file")
        if self.scan.fault == SCAN_COUNT:
            raise self.error(place, at, f"a count that fits the {left - 8} bytes behind it", found)
        if self.scan.fault == SCAN_TYPE:
            raise self.error(place, at, f"a value type from 0 to {GGUF_VALUE_TYPE_COUNT - 1}", found)
        if self.scan.fault == SCAN_BOOL:
            raise self.error(place, at, "a boolean of 0 or 1", found)
        raise self.error(place, at, f"arrays nested at most {MAX_ARRAY_DEPTH} deep", f"{found} or more")

    cdef str read_name(self, str place):
        cdef uint64_t at = self.scan.pos
        cdef uint64_t length = scan_u64(&self.scan)
        if self.scan.fault == SCAN_OK and not 0 < length <= MAX_NAME_BYTES:
            raise self.error(place, at, f"a name of 1 to {MAX_NAME_BYTES} bytes", f"a length of {length}")
        scan_bytes(&self.scan, length)
        self.check(place)
        return self.text(self.scan.pos - length, length, place)

    cdef str text(self, uint64_t first, uint64_t length, str place):
        try:
            return PyUnicode_DecodeUTF8(<const char*> self.file.base + first, length, NULL)
        except UnicodeDecodeError as error:
            raise self.error(place, first + error.start, "UTF-8", error.reason) from None

    cdef object decode(self, uint32_t value_type, str place):
        cdef uint64_t first = self.scan.pos
        if value_type == GGUF_ARRAY:
            return self.decode_array(place, 0)
        scan_value(&self.scan, value_type, 0)
        self.check(place)
        if value_type == GGUF_STRING:
            if self.replace:
                return PyUnicode_DecodeUTF8(
                    <const char*> self.file.base + first + 8, self.scan.pos - first - 8, "replace"
                )
            return self.text(first + 8, self.scan.pos - first - 8, place)
        return decode_scalar(self.file.base + first, value_type)

    cdef object decode_array(self, str place, int depth):
        cdef uint64_t first = self.scan.pos
        cdef uint64_t count
        cdef uint32_t element_type = scan_u32(&self.scan)
        if element_type == GGUF_STRING:
            strings = scan_strings(self.file, &self.scan, f"{self.path}: {place}")
            self.check(place)
            return strings
        if element_type == GGUF_ARRAY and depth < MAX_ARRAY_DEPTH:
            count = scan_count(&self.scan, 12)
            self.check(place)
            return [self.decode_array(place, depth + 1) for _ in range(count)]
        self.scan.pos = first
        scan_value(&self.scan, GGUF_ARRAY, depth)
        self.check(place)
        dtype = np.dtype(NUMPY_TYPES[element_type])
        count = (self.scan.pos - first - 12) // <uint64_t> dtype.itemsize
        array = np.frombuffer(self.file, dtype, count, first + 12) if count else np.empty(0, dtype)
        if not array.flags.aligned:
            array = array.copy()  # values stand at any byte, and compiled code must be able to rely on alignment
        array.flags.writeable = False
        return array


cdef Py_ssize_t index_of(StringArray strings, object i) except -1:
    cdef Py_ssize_t index = i
    if index < 0:
        index += strings.count
    if index < 0 or index >= strings.count:
        raise IndexError(f"{strings.place}: index {i} is outside of {strings.count} strings")
    return index


cdef object decode_scalar(const uint8_t* p, uint32_t value_type):
    cdef uint32_t word
    cdef uint64_t double_word
    cdef float single
    cdef double number
    if value_type == GGUF_UINT8:
        return p[0]
    if value_type == GGUF_INT8:
        return <int8_t> p[0]
    if value_type == GGUF_UINT16:
        return p[0] | <uint32_t> p[1] << 8
    if value_type == GGUF_INT16:
        return <int16_t> (p[0] | <uint32_t> p[1] << 8)
    if value_type == GGUF_UINT32:
        return read_u32(p)
    if value_type == GGUF_INT32:
        return <int32_t> read_u32(p)
    if value_type == GGUF_FLOAT32:
        word = read_u32(p)
        memcpy(&single, &word, 4)
        return single
    if value_type == GGUF_BOOL:
        return p[0] != 0
    if value_type == GGUF_UINT64:
        return read_u64(p)
    if value_type == GGUF_INT64:
        return <int64_t> read_u64(p)
    double_word = read_u64(p)
    memcpy(&number, &double_word, 8)
    return number


# `scan` stands before the element count. Lengths are checked here although the file was checked as a whole when it
# was opened: a mapped file may have been written to since. None if there is a fault.
cdef StringArray scan_strings(FileMap file, Scan* scan, str place):
    cdef StringArray strings = StringArray.__new__(StringArray)
    cdef uint64_t count = scan_count(scan, 8)
    cdef uint64_t i
    strings.file = file
    strings.count = count
    strings.place = place
    strings.starts = <uint64_t*> malloc((count + 1) * sizeof(uint64_t))
    if strings.starts == NULL:
        raise MemoryError
    with nogil:
        for i in range(count):
            strings.starts[i] = scan.pos + 8
            scan_string(scan)
        strings.starts[count] = scan.pos + 8
    return strings if scan.fault == SCAN_OK else None
