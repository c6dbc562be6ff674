from libc.stdint cimport uint32_t, uint64_t

from oxillama._core.gguf.filemap cimport FileMap
from oxillama._core.gguf.scan cimport Scan


cdef class StringArray:
    # Strings of one metadata array, in place. Immutable, so any thread may read it without the GIL.
    cdef FileMap file
    cdef Py_ssize_t count
    # count + 1 file offsets: string i is the bytes [starts[i], starts[i + 1] - 8). The 8 bytes before each string hold
    # its length, which is checked once at construction and never read again.
    cdef uint64_t* starts
    cdef str place             # file and key, for error messages

    # Pointer to the bytes of string i (not NUL-terminated), 0 <= i < count unchecked; *n is their number.
    cdef const char* item(self, Py_ssize_t i, size_t* n) noexcept nogil


cdef class ValueReader:
    cdef FileMap file
    cdef str path              # for error messages
    cdef Scan scan             # where the reader stands
    cdef bint replace          # whether a value that is not UTF-8 has U+FFFD for what is wrong, instead of an error

    # A ModelLoadError; `place` says what was being read, `at` is the byte of the file.
    cdef object error(self, str place, uint64_t at, str expected, object found)
    # Raises it if the scan has met a fault.
    cdef int check(self, str place) except -1
    # A key or a tensor's name: a string of 1 to 65535 bytes of UTF-8.
    cdef str read_name(self, str place)
    # One value, as the Python object that GGUFShard.value promises. `depth` is the number of arrays around it.
    cdef object decode(self, uint32_t value_type, str place)
    cdef object decode_array(self, str place, int depth)
    cdef str text(self, uint64_t first, uint64_t length, str place)
