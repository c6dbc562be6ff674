"""Packed weight matrices: made once at load, read by every step, never changed."""

from libc.stdint cimport int32_t

from oxillama._core.network.kernels cimport ox_matrix
from oxillama._core.memory cimport Pages

# Row groups of one matrix that are packed together; `source` is the file's first row of them.
cdef struct Piece:
    int32_t type
    int32_t k
    int32_t rows
    size_t row_bytes
    size_t group_bytes
    bint rounds             # the source is float16, packed as bfloat16
    const unsigned char *source
    unsigned char *out

cdef class PackedMatrix:
    # desc.data points into _pages, which all matrices of a model share; desc.bias into _bias (kept alive here).
    cdef ox_matrix desc
    cdef Pages _pages
    cdef object _bias

cdef class WeightPacker:
    cdef Pages _pages
    cdef size_t _used       # bytes of _pages that belong to matrices
    cdef Piece *_pieces     # what is left to pack; they point into _sources
    cdef size_t _n_pieces
    cdef list _sources
    cdef bint _consume
    cdef int _cut(self, PackedMatrix matrix, const unsigned char *source, size_t row_bytes, size_t offset,
                  bint rounds) except -1
