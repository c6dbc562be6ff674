# cython: binding=True
"""Runs the weight and product kernels of any usable level on NumPy arrays, for tests and benchmarks.

Not part of the engine: the executor has its own buffers and threads."""

import numpy as np

from libc.stdint cimport int32_t, uint8_t, uint16_t
from libc.stdlib cimport free
from posix.stdlib cimport posix_memalign
from posix.mman cimport MADV_HUGEPAGE, madvise

from oxillama._core.network.kernels cimport (
    OX_ACT_BLOCK,
    OX_ALIGN,
    OX_FORM_BF16,
    OX_FORM_INT8,
    OX_FORM_INT8_32,
    OX_GROUP_ROWS,
    kernels_of,
    ox_act_block,
    ox_activations,
    ox_kernels,
    ox_matrix,
)
from oxillama._core.network.team cimport Team, ox_team, ox_team_together

cdef extern from "pack/blocks.h" nogil:
    ctypedef struct ox_format:
        int32_t block
        int32_t block_bytes
    ox_format ox_format_of(int32_t type)
    size_t ox_row_bytes(int32_t type, int32_t k)
    void ox_dequantize_row(int32_t type, int32_t k, const uint8_t *row, float *out)

cdef extern from "matmul/oracle.h" nogil:
    float ox_oracle_dot_bf16(const uint8_t *row, const ox_activations *x, int32_t token)
    float ox_oracle_dot(int32_t type, int32_t fused, const uint8_t *row, const ox_activations *x, int32_t token)

cdef size_t HUGE_PAGE = 2 << 20

# ox_act_block of csrc/kernels.h, in the form INT8 and in INT8_32
ACT_BLOCK = np.dtype([
    ("quants", np.int8, 256),
    ("neg_sums16", np.int32, 16),
    ("neg_sums32", np.int32, 8),
    ("sums32", np.int16, 8),
    ("scale", np.float32),
    ("unused", np.int32, 3),
])
ACT_BLOCK_32 = np.dtype([
    ("quants", np.int8, 256),
    ("scales32", np.float32, 8),
    ("scaled_sums32", np.float32, 8),
    ("neg_sums32", np.int32, 8),
    ("sums32", np.int16, 8),
    ("scale", np.float32),
    ("unused", np.int32, 3),
])


cdef void* _allocate(size_t size, size_t align) except NULL:
    cdef void *memory = NULL
    if posix_memalign(&memory, align, size if size else align):
        raise MemoryError(f"cannot allocate {size} bytes")
    return memory


cdef int _check_rows(int32_t type, int32_t k, const uint8_t[:, ::1] raw) except -1:
    cdef ox_format f = ox_format_of(type)
    if f.block == 0:
        raise ValueError(f"ggml type {type} has no kernels")
    if k <= 0 or k % f.block:
        raise ValueError(f"k must be a positive multiple of {f.block} for ggml type {type}, found {k}")
    if <size_t>raw.shape[1] != ox_row_bytes(type, k):
        raise ValueError(f"a row of {k} values takes {ox_row_bytes(type, k)} bytes, found {raw.shape[1]}")
    return 0


def dequantize(int32_t type, int32_t k, const uint8_t[:, ::1] raw not None):
    _check_rows(type, k, raw)
    out = np.empty((raw.shape[0], k), np.float32)
    cdef float[:, ::1] values = out
    for r in range(raw.shape[0]):
        ox_dequantize_row(type, k, &raw[r, 0], &values[r, 0])
    return out


ctypedef struct Product:
    # A product whose row groups are divided statically between the members of a team.
    const ox_kernels *kernels
    const ox_matrix *matrix
    const ox_activations *x
    float *out                 # [n, rows]
    int32_t n, size
    bint accumulate
    uint8_t *scratch           # [size][scratch_bytes]
    size_t scratch_bytes


cdef void multiply_part(void *context, int32_t item, int32_t place) noexcept nogil:
    cdef Product *p = <Product *>context
    cdef int32_t n_groups = (p.matrix.rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS
    cdef int32_t group
    for group in range(n_groups * place // p.size, n_groups * (place + 1) // p.size):
        p.kernels.matmul_group(p.matrix, group, p.x, p.n, p.out + group * OX_GROUP_ROWS, p.matrix.rows, p.accumulate,
                               p.scratch + place * p.scratch_bytes)


cdef class Matrix:
    cdef const ox_kernels *kernels
    cdef ox_matrix matrix
    cdef void *data
    cdef object bias

    def __cinit__(self, str level, int32_t type, int32_t k, const uint8_t[:, ::1] raw not None, bias=None, *,
                  float scale=1.0, bint decoded=False):
        _check_rows(type, k, raw)
        if raw.shape[0] == 0:
            raise ValueError("a matrix needs at least one row")
        self.kernels = kernels_of(level)
        cdef int32_t n_groups = <int32_t>((raw.shape[0] + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS)
        self.matrix.type = type
        self.matrix.rows = <int32_t>raw.shape[0]
        self.matrix.k = k
        self.matrix.scale = scale
        self.matrix.group_bytes = self.kernels.packed_group_bytes(type, k)
        if self.matrix.group_bytes == 0 or self.matrix.group_bytes % OX_ALIGN:
            raise ValueError(f"level {level} has no kernel for ggml type {type}")
        cdef size_t size = n_groups * self.matrix.group_bytes
        self.data = _allocate(size, HUGE_PAGE if size >= HUGE_PAGE else OX_ALIGN)
        if size >= HUGE_PAGE:
            madvise(self.data, size, MADV_HUGEPAGE)
        self.matrix.data = <const uint8_t *>self.data
        cdef const float[::1] bias_values
        if bias is not None:
            bias_values = bias
            if bias_values.shape[0] != raw.shape[0]:
                raise ValueError(f"a bias needs {raw.shape[0]} values, found {bias_values.shape[0]}")
            self.bias = bias
            self.matrix.bias = &bias_values[0]
        cdef int32_t group, n_rows
        with nogil:
            for group in range(n_groups):
                n_rows = min(OX_GROUP_ROWS, self.matrix.rows - group * OX_GROUP_ROWS)
                (self.kernels.pack_group_decoded if decoded else self.kernels.pack_group)(
                    type, k, n_rows, &raw[group * OX_GROUP_ROWS, 0], raw.shape[1],
                    <uint8_t *>self.data + group * self.matrix.group_bytes)

    def __dealloc__(self):
        free(self.data)

    @property
    def nbytes(self):
        return (self.matrix.rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS * self.matrix.group_bytes

    @property
    def packed(self):
        return np.asarray(<const uint8_t[:self.nbytes]>self.data).copy()

    def unpack_row(self, int32_t row):
        if not 0 <= row < self.matrix.rows:
            raise IndexError(f"row must lie in 0 .. {self.matrix.rows - 1}, found {row}")
        out = np.empty(self.matrix.k, np.float32)
        cdef float[::1] values = out
        self.kernels.unpack_row(&self.matrix, row, &values[0])
        return out

    def multiply(self, Activations x not None, float[:, ::1] out not None, *, bint accumulate=False, Team team=None):
        cdef int32_t n = x.n, rows = self.matrix.rows
        if x.kernels != self.kernels:
            raise ValueError("matrix and activations belong to different levels")
        if x.view.k != self.matrix.k:
            raise ValueError(f"activations must have {self.matrix.k} values, found {x.view.k}")
        if out.shape[0] != n or out.shape[1] != rows:
            raise ValueError(f"out must have the shape ({n}, {rows}), found ({out.shape[0]}, {out.shape[1]})")
        if n == 0:
            return
        cdef ox_team *members = team.here() if team is not None else NULL
        cdef Product product
        product.kernels = self.kernels
        product.matrix = &self.matrix
        product.x = &x.view
        product.out = &out[0, 0]
        product.n = n
        product.accumulate = accumulate
        product.size = members.size if members != NULL else 1
        product.scratch_bytes = (self.kernels.matmul_scratch(n) + OX_ALIGN - 1) // OX_ALIGN * OX_ALIGN
        product.scratch = <uint8_t *>_allocate(product.scratch_bytes * product.size, OX_ALIGN)
        with nogil:
            ox_team_together(members, multiply_part, &product)
        free(product.scratch)


cdef class Activations:
    cdef const ox_kernels *kernels
    cdef ox_activations view
    cdef readonly int32_t n
    cdef readonly object values
    cdef readonly object rounded
    cdef object memory, blocks, blocks32

    def __cinit__(self, str level, values not None):
        cdef const float[:, :] rows = values
        if rows.strides[1] != sizeof(float) or rows.strides[0] % sizeof(float):
            raise ValueError("the values of a row must lie next to each other")
        cdef Py_ssize_t n_blocks = (rows.shape[1] + OX_ACT_BLOCK - 1) // OX_ACT_BLOCK
        self.kernels = kernels_of(level)
        self.values = values
        self.n = <int32_t>rows.shape[0]
        # rubbish, so that a test sees what the kernel leaves unwritten
        n_bytes = n_blocks * max(self.n, 1) * sizeof(ox_act_block)
        self.memory = np.full(2 * n_bytes + OX_ALIGN, 99, np.uint8)
        start = -self.memory.ctypes.data % OX_ALIGN
        self.blocks = self.memory[start:start + n_bytes].view(ACT_BLOCK).reshape(n_blocks, -1)
        self.blocks32 = self.memory[start + n_bytes:start + 2 * n_bytes].view(ACT_BLOCK_32).reshape(n_blocks, -1)
        cdef uint8_t[::1] bytes_of_blocks = self.memory[start:]
        self.view.k = <int32_t>rows.shape[1]
        self.view.max_rows = <int32_t>self.blocks.shape[1]
        self.view.value_stride = rows.strides[0] // sizeof(float)
        self.view.values = &rows[0, 0] if self.n else NULL
        self.view.forms = OX_FORM_INT8 | OX_FORM_INT8_32 | OX_FORM_BF16
        self.view.blocks = <ox_act_block *>&bytes_of_blocks[0]
        self.view.blocks32 = self.view.blocks + n_blocks * self.view.max_rows
        self.rounded = np.full((n_blocks, max(self.n, 1), OX_ACT_BLOCK), 0x4141, np.uint16)
        cdef uint16_t[:, :, ::1] rounded = self.rounded
        self.view.rounded = &rounded[0, 0, 0]
        self.quantize()

    def quantize(self):
        cdef int32_t row
        with nogil:
            for row in range(self.n):
                self.kernels.quantize_row(&self.view, row)

    def _rows(self, blocks, str field):
        # [block][token][...] to [token][k]
        return np.ascontiguousarray(np.moveaxis(blocks[field], 0, 1)).reshape(self.blocks.shape[1], -1)

    @property
    def quants(self):
        return self._rows(self.blocks, "quants")

    @property
    def scales(self):
        return self._rows(self.blocks, "scale")

    @property
    def neg_sums16(self):
        return self._rows(self.blocks, "neg_sums16")

    @property
    def neg_sums32(self):
        return self._rows(self.blocks, "neg_sums32")

    @property
    def sums32(self):
        return self._rows(self.blocks, "sums32")

    @property
    def quants_by_32(self):
        return self._rows(self.blocks32, "quants")

    @property
    def scales_by_32(self):
        return self._rows(self.blocks32, "scales32")

    @property
    def scaled_sums_by_32(self):
        return self._rows(self.blocks32, "scaled_sums32")


def activation_form(str level, int32_t type):
    names = {0: "float32", OX_FORM_INT8: "int8", OX_FORM_INT8_32: "int8 by 32", OX_FORM_BF16: "bfloat16"}
    return names[kernels_of(level).activation_form(type)]


def oracle(str level, int32_t type, const uint8_t[:, ::1] raw not None, Activations x not None):
    cdef int32_t fused = level not in ("base", "reference")
    cdef bint bf16 = kernels_of(level).activation_form(type) == OX_FORM_BF16
    _check_rows(type, x.view.k, raw)
    out = np.empty((x.n, raw.shape[0]), np.float32)
    cdef float[:, ::1] results = out
    cdef Py_ssize_t t, r
    with nogil:
        for t in range(x.n):
            for r in range(raw.shape[0]):
                if bf16:
                    results[t, r] = ox_oracle_dot_bf16(&raw[r, 0], &x.view, <int32_t>t)
                else:
                    results[t, r] = ox_oracle_dot(type, fused, &raw[r, 0], &x.view, <int32_t>t)
    return out
