"""Packs weight matrices from the file's own blocks into the layout that the chosen kernels read."""

from cython.parallel cimport prange
from libc.stdint cimport int32_t, uint64_t

import numpy as np

from oxillama._core.executor cimport ox_default_fp_mode, ox_restore_fp_mode
from oxillama._core.kernels cimport OX_GROUP_ROWS, active_kernels, ox_kernels


cdef extern from "<omp.h>" nogil:
    ctypedef enum omp_pause_resource_t:
        omp_pause_soft
    int omp_pause_resource(omp_pause_resource_t kind, int device)
    int omp_get_initial_device()


def release_team():
    """Lets the calling thread's team of packing threads go. Otherwise they would spin (for ever under
    OMP_WAIT_POLICY=active), and a forked child would wait for members that it does not have."""
    omp_pause_resource(omp_pause_soft, omp_get_initial_device())


def packed_bytes(int type_id, Py_ssize_t rows, Py_ssize_t k):
    """Bytes a matrix takes when packed, or 0 if the active kernels cannot multiply this type."""
    cdef size_t group_bytes = active_kernels().packed_group_bytes(type_id, <int32_t>k)
    return group_bytes * ((rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS)


cdef void pack_group(const ox_kernels *kernels, int type_id, int32_t k, int32_t rows, const unsigned char *source,
                     Py_ssize_t row_bytes, unsigned char *out) noexcept nogil:
    # The team is the caller's, with whatever floating-point mode a host library left in its threads.
    cdef uint64_t fp_mode = ox_default_fp_mode()
    kernels.pack_group(type_id, k, rows, source, row_bytes, out)
    ox_restore_fp_mode(fp_mode)


cdef class PackedMatrix:
    """`rows` x `k` values of a ggml type, packed for the active kernels.

    raw: the tensor's bytes as the file has them, row after row. bias: float32 [rows] or None."""

    def __init__(self, const unsigned char[::1] raw, int type_id, Py_ssize_t rows, Py_ssize_t k, *,
                 const float[::1] bias=None, int n_threads=1):
        cdef const ox_kernels *kernels = active_kernels()
        cdef size_t group_bytes = kernels.packed_group_bytes(type_id, <int32_t>k)
        cdef Py_ssize_t n_groups = (rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS
        cdef Py_ssize_t row_bytes, g
        cdef const unsigned char *source
        if not 0 < rows < 2**31 or not 0 < k < 2**31:
            raise ValueError(f"a matrix of {rows} x {k} cannot be packed")
        if group_bytes == 0:
            raise ValueError(f"ggml type {type_id} cannot be packed")
        if raw.shape[0] == 0 or raw.shape[0] % rows:
            raise ValueError(f"{raw.shape[0]} bytes are not {rows} rows")
        if bias is not None and bias.shape[0] != rows:
            raise ValueError(f"bias has {bias.shape[0]} values, expected {rows}")
        row_bytes = raw.shape[0] // rows
        source = &raw[0]
        self._pages = Pages(n_groups * group_bytes)
        self._bias = bias
        self.desc.type = type_id
        self.desc.rows = <int32_t>rows
        self.desc.k = <int32_t>k
        self.desc.group_bytes = group_bytes
        self.desc.data = self._pages.data
        self.desc.bias = &bias[0] if bias is not None else NULL
        for g in prange(n_groups, nogil=True, num_threads=n_threads, schedule="static"):
            pack_group(kernels, type_id, <int32_t>k, <int32_t>min(OX_GROUP_ROWS, rows - g * OX_GROUP_ROWS),
                       source + g * OX_GROUP_ROWS * row_bytes, row_bytes, self._pages.data + g * group_bytes)

    @property
    def shape(self):
        return self.desc.rows, self.desc.k

    @property
    def n_bytes(self):
        return self._pages.size

    def row(self, int index):
        """The float32 values of one row, exactly as the format defines them."""
        if not 0 <= index < self.desc.rows:
            raise IndexError(f"row {index} of a matrix of {self.desc.rows} rows")
        cdef float[::1] out = np.empty(self.desc.k, dtype=np.float32)
        active_kernels().unpack_row(&self.desc, index, &out[0])
        return np.asarray(out)
