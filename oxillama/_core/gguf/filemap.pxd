from libc.stdint cimport uint8_t, uint64_t


cdef class FileMap:
    # Read-only bytes of one file. Whoever keeps a pointer into them keeps a reference to the FileMap.
    cdef const uint8_t* base   # at least 64-byte aligned
    cdef uint64_t size         # bytes
    cdef Py_buffer _view       # of the mmap object, which cannot be closed under it; .obj is NULL for a copy
    cdef void* _copy           # owned memory, or NULL
