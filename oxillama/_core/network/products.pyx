"""The matrix products of a program: groups of 32 weight rows are what the team divides, never a sum."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t

from oxillama._core.network.adapter_products cimport expand, ox_adapted_rows, shrink_product, adapted_rows
from oxillama._core.network.executor cimport ox_batch, ox_buffer, ox_member, ox_op, ox_program
from oxillama._core.network.kernels cimport OX_GROUP_ROWS, ox_activation, ox_matrix
from oxillama._core.network.operations cimport Operation, register_work
from oxillama._core.network.shares cimport ox_share, share_of, share_take


cdef int32_t n_groups(const ox_matrix *matrix) noexcept nogil:
    return (matrix.rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS


cdef size_t product_scratch(const ox_program *program, const ox_op *op) noexcept nogil:
    return program.kernels.matmul_scratch(program.max_tokens)


cdef inline void multiply_group(const ox_program *program, const ox_op *op, const ox_matrix *matrix, int32_t group,
                                int32_t n_rows, float *out, size_t stride, bint accumulate, int32_t rest,
                                const ox_member *member) noexcept nogil:
    # out (+)= matrix . src[0], then + matrix . src[rest] where there is a rest: the second while the group is at hand.
    cdef ox_matrix unbiased
    program.kernels.matmul_group(matrix, group, &program.buffers[op.src[0]].acts, n_rows, out, stride, accumulate,
                                 member.scratch)
    if rest > 0:
        unbiased = matrix[0]
        unbiased.bias = NULL
        program.kernels.matmul_group(&unbiased, group, &program.buffers[op.src[rest]].acts, n_rows, out, stride, True,
                                     member.scratch)


cdef void product(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                  const ox_member *member) noexcept nogil:
    # dst[m] (+)= mats[m] . src[0]; rest: which of src holds what rounding src[0] has left over, 0: none
    cdef int32_t m, item, total = 0
    cdef ox_buffer *out
    cdef ox_share share
    cdef ox_adapted_rows rows = adapted_rows(program, op, batch)
    for m in range(op.n_mats):
        total += n_groups(&op.mats[m])
    share = share_of(total, program.shared, member)
    while True:
        item = share_take(&share, counter)
        if item < 0:
            return
        m = 0
        while item >= n_groups(&op.mats[m]):
            item -= n_groups(&op.mats[m])
            m += 1
        out = &program.buffers[op.dst[m]]
        multiply_group(program, op, &op.mats[m], item, n_rows, out.data + item * OX_GROUP_ROWS, out.stride,
                       op.integers[0], op.integers[1], member)
        if batch.n_sets > 0:
            expand(&rows, m, 0, item, 0, n_rows, out.data + item * OX_GROUP_ROWS, out.stride, member)


cdef size_t gated_product_scratch(const ox_program *program, const ox_op *op) noexcept nogil:
    return program.kernels.matmul_scratch(program.max_tokens) + 2 * program.max_tokens * OX_GROUP_ROWS * sizeof(float)


cdef void gated_product(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                        const ox_member *member) noexcept nogil:
    # dst[0] = f(mats[0] . src[0]) * (mats[1] . src[0]). Both factors of a group land in the thread's scratch, so that
    # they never travel through memory.
    cdef float *gate = <float *>(member.scratch + program.kernels.matmul_scratch(program.max_tokens))
    cdef float *up = gate + program.max_tokens * OX_GROUP_ROWS
    cdef ox_buffer *out = &program.buffers[op.dst[0]]
    cdef ox_share share = share_of(n_groups(&op.mats[0]), program.shared, member)
    cdef int32_t item, row, width
    cdef ox_adapted_rows rows = adapted_rows(program, op, batch)
    while True:
        item = share_take(&share, counter)
        if item < 0:
            return
        multiply_group(program, op, &op.mats[0], item, n_rows, gate, OX_GROUP_ROWS, False, op.integers[1], member)
        multiply_group(program, op, &op.mats[1], item, n_rows, up, OX_GROUP_ROWS, False, op.integers[1], member)
        if batch.n_sets > 0:
            expand(&rows, 0, 0, item, 0, n_rows, gate, OX_GROUP_ROWS, member)
            expand(&rows, 1, 0, item, 0, n_rows, up, OX_GROUP_ROWS, member)
        width = min(OX_GROUP_ROWS, op.mats[0].rows - item * OX_GROUP_ROWS)
        for row in range(n_rows):
            program.kernels.gated(<ox_activation>op.integers[0], width, gate + row * OX_GROUP_ROWS,
                                  up + row * OX_GROUP_ROWS, op.floats,
                                  out.data + row * out.stride + item * OX_GROUP_ROWS)


cdef Operation row = register_work("product", "product", product, ("accumulate", "rest"), ())
row.c.scratch = product_scratch
row.c.shrink = shrink_product
row = register_work("gated_product", "product", gated_product, ("function", "rest"), ("p0", "p1", "p2", "p3"))
row.c.scratch = gated_product_scratch
row.c.shrink = shrink_product
