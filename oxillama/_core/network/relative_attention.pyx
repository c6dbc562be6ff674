"""Attention of encoders whose scores have a learned bias for each distance (Raffel et al. 2019, arXiv:1910.10683).

A prompt is computed in one step, so keys and values are rows of the step and no cache is read. The two products of a
head are the float kernel's: keys, and then values, are its matrix. A query's sums therefore have one order, ascending,
whatever else is in the step, and a piece of work is some queries of one head."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t

from oxillama._core.network.executor cimport ox_batch, ox_buffer, ox_member, ox_op, ox_program, ox_run, row_of
from oxillama._core.network.kernels cimport OX_ALIGN, OX_EXP, OX_GROUP_ROWS, ox_activation, ox_activations, ox_matrix
from oxillama._core.network.operations cimport Operation, register_work

cdef extern from "<stdatomic.h>" nogil:
    int32_t __atomic_fetch_add(int32_t *target, int32_t value, int order) noexcept
    int __ATOMIC_RELAXED

cdef enum:
    PIECE_TOKENS = 32  # enough queries to pay for packing the keys
    F32 = 0            # the type's number

# What a member works with, one after another in its scratch.
ctypedef struct Space:
    uint8_t *products                 # the kernel's own
    uint8_t *group                    # packed keys or values
    float *values                     # [OX_GROUP_ROWS][n_keys, rounded up]: values of a few lanes, keys in a row
    float *scores                     # [PIECE_TOKENS][the same]
    size_t n_bytes                    # of all


cdef inline size_t aligned(size_t n_bytes) noexcept nogil:
    return (n_bytes + OX_ALIGN - 1) // OX_ALIGN * OX_ALIGN


cdef inline size_t key_stride(int32_t n_keys) noexcept nogil:
    return aligned(n_keys * sizeof(float)) // sizeof(float)


cdef Space space_of(const ox_program *program, const ox_op *op, uint8_t *scratch) noexcept nogil:
    cdef Space space
    cdef int32_t most = program.max_tokens, k_dim = program.buffers[op.src[0]].width // op.integers[0]
    cdef size_t row_bytes = key_stride(most) * sizeof(float), at = 0
    space.products = scratch
    at += aligned(program.kernels.matmul_scratch(PIECE_TOKENS))
    space.group = scratch + at
    at += aligned(program.kernels.packed_group_bytes(F32, max(most, k_dim)))
    space.values = <float *>(scratch + at)
    at += OX_GROUP_ROWS * row_bytes
    space.scores = <float *>(scratch + at)
    space.n_bytes = at + PIECE_TOKENS * row_bytes
    return space


cdef size_t relative_attention_scratch(const ox_program *program, const ox_op *op) noexcept nogil:
    return space_of(program, op, NULL).n_bytes


cdef void multiply(const ox_program *program, const Space *space, int32_t n_rows, int32_t k, const float *rows,
                   size_t row_stride, const float *x, size_t x_stride, int32_t n, float *out,
                   size_t out_stride) noexcept nogil:
    # out[t][r] = rows[r] . x[t], for up to OX_GROUP_ROWS rows
    cdef ox_matrix matrix
    cdef ox_activations acts
    program.kernels.pack_group(F32, k, n_rows, <const uint8_t *>rows, row_stride * sizeof(float), space.group)
    matrix.type, matrix.rows, matrix.k, matrix.scale, matrix.bias = F32, n_rows, k, 1.0, NULL
    matrix.group_bytes = program.kernels.packed_group_bytes(F32, k)
    matrix.data = space.group
    acts.k, acts.max_rows, acts.forms, acts.values, acts.value_stride = k, n, 0, x, x_stride
    acts.blocks = acts.blocks32 = NULL
    acts.rounded = NULL
    program.kernels.matmul_group(&matrix, 0, &acts, n, out, out_stride, False, space.products)


cdef float exponentials(const ox_program *program, const float *bias, int32_t reach, int32_t position, int32_t n_keys,
                        float *scores) noexcept nogil:
    # scores = e^(score + bias of the distance - the greatest of these); returns one over their sum
    cdef int32_t key, distance
    cdef float greatest
    cdef double total = 0
    for key in range(n_keys):
        distance = min(max(key - position, -reach), reach)
        scores[key] += bias[reach + distance]
    greatest = scores[0]
    for key in range(1, n_keys):
        greatest = max(greatest, scores[key])
    for key in range(n_keys):
        scores[key] -= greatest
    program.kernels.activate(<ox_activation>OX_EXP, n_keys, scores, NULL, scores)
    for key in range(n_keys):
        total += scores[key]
    return <float>(1 / total)


cdef void attend(ox_program *program, const ox_op *op, const ox_run *run, int32_t first, int32_t head,
                 const Space *space) noexcept nogil:
    # Queries [first, first + PIECE_TOKENS) of a run, in one head.
    cdef const ox_buffer *q = &program.buffers[op.src[0]]
    cdef const ox_buffer *k = &program.buffers[op.src[1]]
    cdef const ox_buffer *v = &program.buffers[op.src[2]]
    cdef ox_buffer *out = &program.buffers[op.dst[0]]
    cdef int32_t n_heads = op.integers[0], reach = op.integers[1], n_keys = run.n_tokens
    cdef int32_t k_dim = q.width // n_heads, v_dim = v.width // n_heads, at, n, row, key
    cdef int32_t n_queries = min(<int32_t>PIECE_TOKENS, n_keys - first)
    cdef size_t stride = key_stride(n_keys)
    cdef const float *queries = row_of(program, op.src[0], run.first_row + first) + head * k_dim
    cdef const float *keys = row_of(program, op.src[1], run.first_row) + head * k_dim
    cdef const float *values = row_of(program, op.src[2], run.first_row) + head * v_dim
    cdef float *result = row_of(program, op.dst[0], run.first_row + first) + head * v_dim
    cdef float shares[PIECE_TOKENS]
    at = 0
    while at < n_keys:
        n = min(<int32_t>OX_GROUP_ROWS, n_keys - at)
        multiply(program, space, n, k_dim, keys + at * k.stride, k.stride, queries, q.stride, n_queries,
                 space.scores + at, stride)
        at += OX_GROUP_ROWS
    for row in range(n_queries):
        shares[row] = exponentials(program, op.vectors[0] + head * (2 * reach + 1), reach, first + row, n_keys,
                                   space.scores + row * stride)
    at = 0
    while at < v_dim:
        n = min(<int32_t>OX_GROUP_ROWS, v_dim - at)
        for key in range(n_keys):
            for row in range(n):
                space.values[row * stride + key] = values[key * v.stride + at + row]
        multiply(program, space, n, n_keys, space.values, stride, space.scores, stride, n_queries, result + at,
                 out.stride)
        at += OX_GROUP_ROWS
    for row in range(n_queries):
        for at in range(v_dim):
            result[row * out.stride + at] *= shares[row]


cdef void relative_attention(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                             const ox_member *member) noexcept nogil:
    # dst = attention of src[0] over src[1] and src[2] of its own run; vectors: biases [n_heads][2 reach + 1]
    cdef Space space = space_of(program, op, member.scratch)
    cdef int32_t n_heads = op.integers[0], item, r = 0, before = 0, pieces = 0
    while r < batch.n_runs:
        # Items ascend, and so do the runs that they belong to.
        item = __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED)
        while r < batch.n_runs:
            pieces = (batch.runs[r].n_tokens + PIECE_TOKENS - 1) // PIECE_TOKENS
            if item < before + pieces * n_heads:
                break
            before += pieces * n_heads
            r += 1
        if r < batch.n_runs:
            item -= before
            attend(program, op, &batch.runs[r], item // n_heads * PIECE_TOKENS, item % n_heads, &space)


cdef Operation row = register_work("relative_attention", "attention", relative_attention, ("n_heads", "reach"), ())
row.c.scratch = relative_attention_scratch
