"""Products of each head with a matrix of its own, as latent attention needs them.

A row of tokens becomes one row for each head, those of a head one after another, so that a product takes all rows of a
head at once. The results go straight back into the rows of the tokens."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from oxillama._core.network.adapter_products cimport adapted_rows, expand, ox_adapted_rows, shrink_rows
from oxillama._core.network.executor cimport (
    OX_ROWS_OUTPUTS,
    OX_ROWS_TOKENS,
    ox_batch,
    ox_buffer,
    ox_member,
    ox_op,
    ox_program,
    row_of,
)
from oxillama._core.network.kernels cimport OX_GROUP_ROWS, ox_activations, ox_matrix
from oxillama._core.network.operations cimport Operation, register_rows, register_work
from oxillama._core.network.shares cimport ox_share, share_of, share_take
from oxillama._core.network.stacks cimport groups_of, matrix_of, rows_from


cdef void split_heads(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                      int32_t last) noexcept nogil:
    # dst (a row for each head of a token, those of one head together) = columns [offset, offset + width) of the head
    cdef int32_t row, head, n_rows, n_heads = op.integers[0]
    cdef int32_t width = program.buffers[op.dst[0]].width
    cdef int32_t wide = program.buffers[op.src[0]].width // n_heads
    if op.space == OX_ROWS_TOKENS:
        n_rows = batch.n_tokens
    elif op.space == OX_ROWS_OUTPUTS:
        n_rows = batch.n_outputs
    else:
        n_rows = batch.n_logits
    for row in range(first, last):
        head = row // n_rows
        memcpy(row_of(program, op.dst[0], row),
               row_of(program, op.src[0], row - head * n_rows) + head * wide + op.integers[1], width * sizeof(float))


cdef size_t head_product_scratch(const ox_program *program, const ox_op *op) noexcept nogil:
    return program.kernels.matmul_scratch(program.max_tokens)


cdef void shrink_heads(ox_program *program, const ox_op *op, ox_batch *batch, int32_t n_rows,
                       const ox_member *member) noexcept nogil:
    cdef ox_adapted_rows rows = adapted_rows(program, op, batch)
    cdef int32_t head = member.index
    while head < op.integers[0]:
        shrink_rows(&rows, head, head * n_rows, (head + 1) * n_rows, member)
        head += member.size


cdef void head_product(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                       const ox_member *member) noexcept nogil:
    # dst = of each head in turn, its matrix of mats[0] . its rows of src; vectors[0]: factors of the heads' products
    cdef int32_t n_heads = op.integers[0], groups = groups_of(&op.mats[0]), item, head
    cdef ox_share share = share_of(n_heads * groups, program.shared, member)
    cdef ox_buffer *out = &program.buffers[op.dst[0]]
    cdef ox_activations acts
    cdef ox_matrix matrix
    cdef ox_adapted_rows rows = adapted_rows(program, op, batch)
    while True:
        item = share_take(&share, counter)
        if item < 0:
            return
        head = item // groups
        item -= head * groups
        acts = rows_from(&program.buffers[op.src[0]].acts, head * n_rows)
        matrix = matrix_of(&op.mats[0], head, op.vectors[0])
        program.kernels.matmul_group(&matrix, item, &acts, n_rows,
                                     out.data + head * matrix.rows + item * OX_GROUP_ROWS, out.stride, 0,
                                     member.scratch)
        if batch.n_sets > 0:
            expand(&rows, 0, head, item, head * n_rows, (head + 1) * n_rows,
                   out.data + head * matrix.rows + item * OX_GROUP_ROWS, out.stride, member)


cdef Operation kind = register_rows("split_heads", "slice", split_heads, ("n_heads", "offset"), ())
kind = register_work("head_product", "product", head_product, ("n_heads",), ())
kind.c.scratch = head_product_scratch
kind.c.shrink = shrink_heads
