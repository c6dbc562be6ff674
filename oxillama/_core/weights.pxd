"""Packed weight matrices: made once at load, read by every step, never changed."""

from oxillama._core.kernels cimport ox_matrix
from oxillama._core.memory cimport Pages

cdef class PackedMatrix:
    # desc.data points into _pages; desc.bias into _bias (kept alive here).
    cdef ox_matrix desc
    cdef Pages _pages
    cdef object _bias
