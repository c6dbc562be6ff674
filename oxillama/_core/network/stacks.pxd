"""Stacks of equal matrices, one after another in memory: those of experts, those of heads."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t

from oxillama._core.network.kernels cimport OX_ACT_BLOCK, OX_GROUP_ROWS, ox_activations, ox_matrix


cdef inline int32_t groups_of(const ox_matrix *matrix) noexcept nogil:
    return (matrix.rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS


# One matrix of a stack; its bias is one of as many. scales: a factor of each matrix's products, or NULL.
cdef inline ox_matrix matrix_of(const ox_matrix *stack, int32_t index, const float *scales) noexcept nogil:
    cdef ox_matrix matrix = stack[0]
    matrix.data += <size_t>index * groups_of(stack) * stack.group_bytes
    if matrix.bias != NULL:
        matrix.bias += <size_t>index * stack.rows
    if scales != NULL:
        matrix.scale = scales[index]
    return matrix


# The same activations without those of the rows before `first`.
cdef inline ox_activations rows_from(const ox_activations *acts, int32_t first) noexcept nogil:
    cdef ox_activations view = acts[0]
    view.values += first * view.value_stride
    if view.blocks != NULL:
        view.blocks += first
    if view.blocks32 != NULL:
        view.blocks32 += first
    if view.rounded != NULL:
        view.rounded += <size_t>first * OX_ACT_BLOCK
    return view
