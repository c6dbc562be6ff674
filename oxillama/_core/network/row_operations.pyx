"""The operations that work on each row alone: look-ups, norms, activations, rotations, and what the cache is told.

Each function does rows [first, last) of one operation. Nothing of one row enters another."""

from libc.math cimport cos, sin
from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int32_t
from libc.string cimport memcpy

from oxillama._core.network.adapter_products cimport embed_adapted
from oxillama._core.network.executor cimport blocks_of, ox_batch, ox_op, ox_program, position_of, row_of
from oxillama._core.network.kernels cimport (
    OX_ACT_BLOCK,
    OX_EXP,
    OX_KV_BLOCK,
    OX_N_ACTIVATIONS,
    ox_act_block,
    ox_activations,
    ox_activation,
    ox_activation_name,
    ox_rope_layout,
)
from oxillama._core.scheduling.kv_cache cimport ox_kv_store
from oxillama._core.network.operations cimport register_rows

# The numbers of the functions of single values, by name; csrc/kernels.h says what each of them is.
ACTIVATIONS = {ox_activation_name(kind).decode(): kind for kind in range(OX_N_ACTIVATIONS)}


cdef void look_up(ox_program *program, const ox_op *op, const ox_batch *batch, int32_t row,
                  int32_t index) noexcept nogil:
    # dst's row = row `index` of the table, and what adapters add to it
    cdef float *out = row_of(program, op.dst[0], row)
    program.kernels.unpack_row(&op.mats[0], index, out)
    if batch.n_sets > 0:
        embed_adapted(program, op, batch, row, index, out)


cdef void embed(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # dst = the table's row of each token
    cdef int32_t row
    for row in range(first, last):
        look_up(program, op, batch, row, batch.tokens[row])


cdef void embed_position(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                         int32_t last) noexcept nogil:
    # dst = the table's row of each position; positions behind its end take the last row
    cdef int32_t row
    for row in range(first, last):
        look_up(program, op, batch, row, min(position_of(program, batch, row), op.mats[0].rows - 1))


cdef void embed_segment(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                        int32_t last) noexcept nogil:
    # dst = the table's row of the text that the token belongs to, the first of two or the second
    cdef int32_t row, segment
    for row in range(first, last):
        segment = position_of(program, batch, row) >= batch.runs[program.row_runs[row]].second_start
        look_up(program, op, batch, row, min(segment, op.mats[0].rows - 1))


cdef void softmax(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # of a whole row; the sum goes from the first value to the last
    cdef int32_t row, j, n = program.buffers[op.dst[0]].width
    cdef const float *x
    cdef float *out
    cdef float top, total
    for row in range(first, last):
        x = row_of(program, op.src[0], row)
        out = row_of(program, op.dst[0], row)
        top = x[0]
        for j in range(1, n):
            top = max(top, x[j])
        for j in range(n):
            out[j] = x[j] - top
        program.kernels.activate(OX_EXP, n, out, op.floats, out)
        total = 0
        for j in range(n):
            total += out[j]
        for j in range(n):
            out[j] /= total


cdef void rope_table(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # dst = n cosines, then n sines, of position times vectors[0]. In double, so that far positions keep their angle.
    cdef int32_t row, j, n = op.integers[0] // 2
    cdef double angle, position
    cdef float *out
    for row in range(first, last):
        out = row_of(program, op.dst[0], row)
        position = position_of(program, batch, row)
        for j in range(n):
            angle = position * <double>op.vectors[0][j]
            out[j] = <float>(cos(angle) * op.floats[0])
            out[n + j] = <float>(sin(angle) * op.floats[0])


cdef void rms_norm(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # each of n_heads stretches of a row by itself; vectors: weight and bias of all of them
    cdef int32_t row, head, n_heads = op.integers[0], width = program.buffers[op.dst[0]].width // n_heads
    cdef float *out
    for row in range(first, last):
        for head in range(n_heads):
            out = row_of(program, op.dst[0], row) + head * width
            program.kernels.rms_norm(width, row_of(program, op.src[0], row) + head * width, op.vectors[0],
                                     op.floats[0], out)
            if op.vectors[1] != NULL:
                program.kernels.add(width, out, op.vectors[1], out)


cdef void layer_norm(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # the same; vectors: weight, bias
    cdef int32_t row, head, n_heads = op.integers[0], width = program.buffers[op.dst[0]].width // n_heads
    for row in range(first, last):
        for head in range(n_heads):
            program.kernels.layer_norm(width, row_of(program, op.src[0], row) + head * width, op.vectors[0],
                                       op.vectors[1], op.floats[0], row_of(program, op.dst[0], row) + head * width)


cdef void quantize(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # the forms of src that products read
    cdef int32_t row
    for row in range(first, last):
        program.kernels.quantize_row(&program.buffers[op.src[0]].acts, row)


cdef void rest(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # dst = src less what its int8 form says: what rounding has left over
    cdef const ox_activations *acts = &program.buffers[op.src[0]].acts
    cdef int32_t row, block, j, n, width = program.buffers[op.dst[0]].width
    cdef const ox_act_block *rounded
    cdef const int8_t *quants
    cdef const float *x
    cdef float *out
    cdef float scale
    for row in range(first, last):
        for block in range((width + OX_ACT_BLOCK - 1) // OX_ACT_BLOCK):
            x = row_of(program, op.src[0], row) + block * OX_ACT_BLOCK
            out = row_of(program, op.dst[0], row) + block * OX_ACT_BLOCK
            rounded = acts.blocks + <size_t>block * acts.max_rows + row
            # Read once: a compiler must take it for something that writing to `out` may change.
            scale, quants = rounded.scale, rounded.quants
            n = min(<int32_t>OX_ACT_BLOCK, width - block * OX_ACT_BLOCK)
            for j in range(n):
                out[j] = x[j] - scale * quants[j]


cdef void add(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    cdef int32_t row, width = program.buffers[op.dst[0]].width
    for row in range(first, last):
        program.kernels.add(width, row_of(program, op.src[0], row), row_of(program, op.src[1], row),
                            row_of(program, op.dst[0], row))


cdef void add_scaled(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    cdef int32_t row, width = program.buffers[op.dst[0]].width
    for row in range(first, last):
        program.kernels.add_scaled(width, row_of(program, op.src[0], row), op.floats[0],
                                   row_of(program, op.src[1], row), row_of(program, op.dst[0], row))


cdef void multiply(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # src[1] may be narrower: one value, or one for each head, for a stretch of src[0]
    cdef int32_t row, part, n = program.buffers[op.dst[0]].width
    cdef int32_t n_factors = program.buffers[op.src[1]].width
    cdef int32_t width = n // n_factors
    cdef const float *factors
    for row in range(first, last):
        factors = row_of(program, op.src[1], row)
        if n_factors == n:
            program.kernels.multiply(n, row_of(program, op.src[0], row), factors, row_of(program, op.dst[0], row))
        else:
            for part in range(n_factors):
                program.kernels.scale(width, factors[part], row_of(program, op.src[0], row) + part * width,
                                      row_of(program, op.dst[0], row) + part * width)


cdef void scale(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # by one number, or with vectors[0] by one for each element
    cdef int32_t row, width = program.buffers[op.dst[0]].width
    for row in range(first, last):
        if op.vectors[0] != NULL:
            program.kernels.multiply(width, row_of(program, op.src[0], row), op.vectors[0],
                                     row_of(program, op.dst[0], row))
        else:
            program.kernels.scale(width, op.floats[0], row_of(program, op.src[0], row),
                                  row_of(program, op.dst[0], row))


cdef void activate(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    cdef int32_t row, width = program.buffers[op.dst[0]].width
    for row in range(first, last):
        program.kernels.activate(<ox_activation>op.integers[0], width, row_of(program, op.src[0], row), op.floats,
                                 row_of(program, op.dst[0], row))


cdef void gated(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # dst = f(src[0]) * src[1]
    cdef int32_t row, width = program.buffers[op.dst[0]].width
    for row in range(first, last):
        program.kernels.gated(<ox_activation>op.integers[0], width, row_of(program, op.src[0], row),
                              row_of(program, op.src[1], row), op.floats, row_of(program, op.dst[0], row))


cdef void rope(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # rotates `dims` elements of each head of src[0], beginning with `offset`, in place, by the table src[1]
    cdef int32_t row
    for row in range(first, last):
        program.kernels.rope(<ox_rope_layout>op.integers[0], op.integers[1], op.integers[2], op.integers[3],
                             row_of(program, op.src[1], row), row_of(program, op.dst[0], row) + op.integers[4])


cdef void kv_store(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # appends K (src[0]) and V (src[1]) to a store of the cache
    cdef int32_t row, position, block
    cdef const ox_kv_store *store = &program.kv_stores[op.integers[0]]
    for row in range(first, last):
        position = position_of(program, batch, row)
        block = blocks_of(&batch.runs[program.row_runs[row]], store)[position // OX_KV_BLOCK]
        program.kernels.kv_store(&store.layout, row_of(program, op.src[0], row), row_of(program, op.src[1], row),
                                 position % OX_KV_BLOCK,
                                 store.data + block * store.layout.block_bytes)


cdef void scale_by_position(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                            int32_t last) noexcept nogil:
    # by vectors[0][(position + offset) // period], of which there are n; later positions take the last
    cdef int32_t row, width = program.buffers[op.dst[0]].width
    for row in range(first, last):
        program.kernels.scale(width,
                              op.vectors[0][min((position_of(program, batch, row) + op.integers[2]) // op.integers[0],
                                                op.integers[1] - 1)],
                              row_of(program, op.src[0], row), row_of(program, op.dst[0], row))


cdef void select(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # dst (outputs) = the output rows of src (tokens)
    cdef int32_t row
    for row in range(first, last):
        memcpy(row_of(program, op.dst[0], row), row_of(program, op.src[0], batch.output_rows[row]),
               program.buffers[op.dst[0]].width * sizeof(float))


cdef void slice_columns(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                        int32_t last) noexcept nogil:
    # columns [offset, offset + width / n_parts) of each of the n_parts stretches of a row, one after another
    cdef int32_t row, part, n_parts = op.integers[0], offset = op.integers[1]
    cdef int32_t wide = program.buffers[op.src[0]].width // n_parts
    cdef int32_t width = program.buffers[op.dst[0]].width // n_parts
    for row in range(first, last):
        for part in range(n_parts):
            memcpy(row_of(program, op.dst[0], row) + part * width,
                   row_of(program, op.src[0], row) + part * wide + offset, width * sizeof(float))


cdef void join_columns(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                       int32_t last) noexcept nogil:
    # of each of the n_parts stretches of a row: those of src[0], then those of src[1], which may be one for all
    cdef int32_t row, part, n_parts = op.integers[0]
    cdef int32_t width = program.buffers[op.src[0]].width // n_parts
    cdef int32_t other = program.buffers[op.dst[0]].width // n_parts - width
    cdef int32_t step = 0 if program.buffers[op.src[1]].width == other else other
    cdef float *out
    for row in range(first, last):
        out = row_of(program, op.dst[0], row)
        for part in range(n_parts):
            memcpy(out, row_of(program, op.src[0], row) + part * width, width * sizeof(float))
            memcpy(out + width, row_of(program, op.src[1], row) + part * step, other * sizeof(float))
            out += width + other


register_rows("embed", "embed", embed, (), ())
register_rows("embed_position", "embed", embed_position, (), ())
register_rows("embed_segment", "embed", embed_segment, (), ())
register_rows("softmax", "activation", softmax, (), ())
register_rows("rope_table", "rope table", rope_table, ("dims",), ("magnitude",))
register_rows("rms_norm", "norm", rms_norm, ("n_heads",), ("epsilon",))
register_rows("layer_norm", "norm", layer_norm, ("n_heads",), ("epsilon",))
register_rows("quantize", "quantise", quantize, (), ())
register_rows("rest", "quantise", rest, (), ())
register_rows("add", "add", add, (), ())
register_rows("add_scaled", "add", add_scaled, (), ("factor",))
register_rows("multiply", "multiply", multiply, (), ())
register_rows("scale", "scale", scale, (), ("factor",))
register_rows("scale_by_position", "scale", scale_by_position, ("period", "n", "offset"), ())
register_rows("activate", "activation", activate, ("function",), ("p0", "p1", "p2", "p3"))
register_rows("gated", "activation", gated, ("function",), ("p0", "p1", "p2", "p3"))
register_rows("rope", "rope", rope, ("layout", "n_heads", "head_dim", "dims", "offset"), ())
register_rows("kv_store", "kv store", kv_store, ("store",), ())
register_rows("select", "select", select, (), ())
register_rows("slice_columns", "slice", slice_columns, ("n_parts", "offset"), ())
register_rows("join_columns", "slice", join_columns, ("n_parts",), ())
