"""Pooling, the cut to fewer dimensions and the norm, in double and one fixed order: exact whatever the chunking."""

from libc.math cimport isfinite, sqrt
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free, malloc


cdef ox_pooling *pooling_create(ox_pooling_kind kind, int32_t n_prompt, int32_t dimensions,
                                bint normalize) noexcept nogil:
    cdef ox_pooling *pooling = <ox_pooling *>calloc(1, sizeof(ox_pooling))
    if pooling == NULL:
        return NULL
    pooling.kind = kind
    pooling.n_prompt = n_prompt
    pooling.dimensions = dimensions
    pooling.normalize = normalize
    pooling.n_rows = n_prompt if kind == OX_POOLING_NONE else 1
    pooling.sum = <double *>malloc(dimensions * sizeof(double))
    pooling.rows = <float *>malloc(<size_t>pooling.n_rows * dimensions * sizeof(float))
    if pooling.sum == NULL or pooling.rows == NULL:
        pooling_destroy(pooling)
        return NULL
    return pooling


cdef void pooling_destroy(ox_pooling *pooling) noexcept nogil:
    if pooling != NULL:
        free(pooling.sum)
        free(pooling.rows)
        free(pooling)


cdef void pooling_span(const ox_pooling *pooling, int32_t *first, int32_t *end) noexcept nogil:
    cdef bint is_last = pooling.kind == OX_POOLING_LAST or pooling.kind == OX_POOLING_RANK_LAST
    cdef bint is_first = pooling.kind == OX_POOLING_CLS or pooling.kind == OX_POOLING_RANK
    first[0] = pooling.n_prompt - 1 if is_last else 0
    end[0] = 1 if is_first else pooling.n_prompt


cdef bint pooling_ranks(const ox_pooling *pooling) noexcept nogil:
    return pooling.kind == OX_POOLING_RANK or pooling.kind == OX_POOLING_RANK_LAST


cdef bint pooling_add(ox_pooling *pooling, int32_t position, const float *hidden) noexcept nogil:
    cdef int32_t j
    cdef bint adds = pooling.kind == OX_POOLING_MEAN and position > 0
    for j in range(pooling.dimensions):
        pooling.sum[j] = pooling.sum[j] + hidden[j] if adds else hidden[j]
    if pooling.kind == OX_POOLING_NONE:
        return write_row(pooling, pooling.rows + <size_t>position * pooling.dimensions, 1)
    if pooling.kind == OX_POOLING_MEAN:
        if position + 1 < pooling.n_prompt:
            return True
        return write_row(pooling, pooling.rows, pooling.n_prompt)
    return write_row(pooling, pooling.rows, 1)


cdef bint write_row(ox_pooling *pooling, float *out, int32_t n) noexcept nogil:
    cdef int32_t j
    cdef double squares = 0, scale = 1.0
    for j in range(pooling.dimensions):
        pooling.sum[j] /= n
        squares += pooling.sum[j] * pooling.sum[j]
    if not isfinite(squares):
        return False
    if pooling.normalize and squares > 0:
        scale = sqrt(squares)
    for j in range(pooling.dimensions):
        out[j] = <float>(pooling.sum[j] / scale)
    return True
