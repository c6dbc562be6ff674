"""The products with adapters. Rows of one set that lie next to each other are multiplied together; what a row gets is
the same in any company."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t

from oxillama._core.atomics cimport ox_atomic_i32, ox_fetch_add_acq_rel_i32, ox_load_acquire_ptr, ox_store_relaxed_i32
from oxillama._core.network.adapter cimport (
    OX_ADAPTER_ENTRIES,
    OX_ADAPTER_PARTS,
    ox_adapter_pair,
    ox_adapter_room,
    ox_adapter_set,
    set_width,
)
from oxillama._core.network.executor cimport OX_ROWS_OUTPUTS, OX_ROWS_TOKENS, ox_run
from oxillama._core.network.kernels cimport OX_GROUP_ROWS, ox_activations, ox_matrix
from oxillama._core.network.stacks cimport groups_of, matrix_of


cdef void adapt_batch(ox_program *program, ox_batch *batch) noexcept nogil:
    cdef int32_t i, j, row
    cdef const ox_run *run
    batch.n_sets = 0
    batch.adapted_width = 0
    for i in range(batch.n_runs):
        run = &batch.runs[i]
        if run.adapters == NULL:
            continue
        for j in range(batch.n_sets):
            if program.sets[j] == run.adapters:
                break
        else:
            program.sets[batch.n_sets] = run.adapters
            batch.n_sets += 1
            batch.adapted_width = max(batch.adapted_width, run.adapters.width)
    if batch.n_sets == 0:
        return
    batch.room = <ox_adapter_room *>ox_load_acquire_ptr(&program.adapter_room)
    batch.sets = program.sets
    for i in range(batch.n_runs):
        run = &batch.runs[i]
        for row in range(run.first_row, run.first_row + run.n_tokens):
            program.token_sets[row] = run.adapters
    for row in range(batch.n_outputs):
        program.output_sets[row] = program.token_sets[batch.output_rows[row]]


cdef bint site_is_adapted(const ox_batch *batch, const ox_op *op) noexcept nogil:
    cdef int32_t i
    for i in range(batch.n_sets):
        if set_width(batch.sets[i], op.site) > 0:
            return True
    return False


cdef ox_adapted_rows adapted_rows(const ox_program *program, const ox_op *op, const ox_batch *batch) noexcept nogil:
    cdef ox_adapted_rows rows
    rows.program = program
    rows.op = op
    rows.batch = batch
    rows.of = NULL
    rows.n_each = 1
    if op.space == OX_ROWS_TOKENS:
        rows.n_base = batch.n_tokens
    elif op.space == OX_ROWS_OUTPUTS:
        rows.n_base = batch.n_outputs
    else:
        rows.n_base = batch.n_logits
    return rows


cdef inline const ox_adapter_set *set_of(const ox_adapted_rows *rows, int32_t row) noexcept nogil:
    cdef int32_t base = rows.of[row] // rows.n_each if rows.of != NULL else row % rows.n_base
    if rows.op.space == OX_ROWS_TOKENS:
        return rows.program.token_sets[base]
    return rows.program.output_sets[base]


cdef inline int32_t stretch_end(const ox_adapted_rows *rows, int32_t first, int32_t end) noexcept nogil:
    """Rows [first, this) have the same."""
    cdef const ox_adapter_set *applied = set_of(rows, first)
    cdef int32_t row = first + 1
    while row < end and set_of(rows, row) == applied:
        row += 1
    return row


cdef inline float *values_of(const ox_batch *batch, int32_t row) noexcept nogil:
    """A . x of a row, of all adapters of its set and all matrices of the operation."""
    return batch.room.values + <size_t>row * batch.adapted_width


cdef size_t adapter_scratch(const ox_program *program) noexcept nogil:
    cdef size_t n_rows = 2 * <size_t>program.max_tokens + OX_FEW_ROWS
    return program.kernels.matmul_scratch(program.max_tokens) + n_rows * OX_GROUP_ROWS * sizeof(float)


cdef inline float *lanes_of(const ox_program *program, const ox_member *member) noexcept nogil:
    """OX_FEW_ROWS x 32 floats of the member's scratch, behind what products and their epilogues have there."""
    return <float *>(member.scratch + program.kernels.matmul_scratch(program.max_tokens)
                     + 2 * program.max_tokens * OX_GROUP_ROWS * sizeof(float))


cdef inline float factor_of(const ox_adapter_set *applied, int32_t i, const ox_adapter_pair *pair) noexcept nogil:
    return <float>(applied.scales[i] * pair.gain)


cdef void multiply_stretches(const ox_program *program, const ox_adapter_pair *pair, int32_t index, int32_t block,
                             const float *x, size_t x_stride, int32_t n, float *to, size_t to_row, size_t to_stretch,
                             bint adds, const ox_member *member) noexcept nogil:
    """The stretches of one block for n rows, at most OX_FEW_ROWS: `rank` values of row i and stretch s of the block go
    to `to + i * to_row + s * to_stretch`, or with `adds` are added to what is there from the first block on."""
    cdef ox_matrix a = matrix_of(&pair.a, index, NULL)
    cdef ox_activations acts
    cdef float *lanes = lanes_of(program, member)
    cdef const float *found
    cdef float *place
    cdef int32_t s, g, i, j, n_lanes
    cdef const float *begin = x + <size_t>block * pair.fold * pair.length
    acts.k = pair.length
    acts.forms = 0
    acts.blocks = acts.blocks32 = NULL
    acts.rounded = NULL
    if n < pair.fold:
        # A row's stretches are as many "tokens" of one product, which reads the group once.
        acts.value_stride = pair.length
        acts.max_rows = pair.fold
        for i in range(n):
            acts.values = begin + i * x_stride
            program.kernels.matmul_group(&a, block, &acts, pair.fold, lanes, OX_GROUP_ROWS, 0, member.scratch)
            for s in range(pair.fold):
                found = lanes + s * OX_GROUP_ROWS + s * pair.rank
                place = to + i * to_row + s * to_stretch
                for j in range(pair.rank):
                    place[j] = place[j] + found[j] if adds and block + s > 0 else found[j]
        return
    acts.value_stride = x_stride
    acts.max_rows = n
    for s in range(pair.fold):
        acts.values = begin + s * pair.length
        for g in range(pair.n_groups):
            program.kernels.matmul_group(&a, block * pair.n_groups + g, &acts, n, lanes, OX_GROUP_ROWS, 0,
                                         member.scratch)
            n_lanes = min(OX_GROUP_ROWS, pair.rank - g * OX_GROUP_ROWS)
            for i in range(n):
                found = lanes + i * OX_GROUP_ROWS + s * pair.rank
                place = to + i * to_row + s * to_stretch + g * OX_GROUP_ROWS
                for j in range(n_lanes):
                    place[j] = place[j] + found[j] if adds and block + s > 0 else found[j]


cdef void scale_values(float *values, int32_t n, float factor) noexcept nogil:
    cdef int32_t j
    for j in range(n):
        values[j] *= factor


cdef void shrink_pair(const ox_adapted_rows *rows, const ox_adapter_set *applied, int32_t i,
                      const ox_adapter_pair *pair, int32_t offset, int32_t index, int32_t first, int32_t end,
                      const ox_member *member) noexcept nogil:
    """f A . x of at most OX_FEW_ROWS rows of one set, by this thread alone: stretch after stretch."""
    cdef const ox_program *program = rows.program
    cdef const ox_activations *acts = &program.buffers[rows.op.src[0]].acts
    cdef float *to = values_of(rows.batch, first) + offset
    cdef int32_t block, row
    for block in range(pair.n_blocks):
        multiply_stretches(program, pair, index, block, acts.values + <size_t>first * acts.value_stride,
                           acts.value_stride, end - first, to, rows.batch.adapted_width, 0, True, member)
    for row in range(first, end):
        scale_values(values_of(rows.batch, row) + offset, pair.rank, factor_of(applied, i, pair))


cdef void shrink_rows(const ox_adapted_rows *rows, int32_t index, int32_t first, int32_t end,
                      const ox_member *member) noexcept nogil:
    cdef const ox_adapter_set *applied
    cdef const ox_adapter_pair *pair
    cdef int32_t i, m, offset, last
    while first < end:
        applied = set_of(rows, first)
        last = min(stretch_end(rows, first, end), first + OX_FEW_ROWS)
        offset = 0
        for i in range(applied.n if applied != NULL else 0):
            for m in range(rows.op.n_mats):
                pair = &applied.adapters[i].sites[rows.op.site].pairs[m]
                if pair.rank > 0 and not pair.is_shared:
                    shrink_pair(rows, applied, i, pair, offset + pair.offset, index, first, last, member)
            offset += applied.adapters[i].sites[rows.op.site].width
        first = last


cdef void finish_parts(const ox_adapted_rows *rows, const ox_adapter_pair *pair, float factor, int32_t first,
                       int32_t end, int32_t offset, const float *parts) noexcept nogil:
    """The same sum as shrink_pair's, of stretches that several threads have made."""
    cdef int32_t row, _s, j, n = pair.fold * pair.n_blocks
    cdef float *to
    for row in range(first, end):
        to = values_of(rows.batch, row) + offset
        for j in range(pair.rank):
            to[j] = parts[j]
        parts += pair.rank
        for _s in range(1, n):
            for j in range(pair.rank):
                to[j] += parts[j]
            parts += pair.rank
        scale_values(to, pair.rank, factor)


cdef void shrink_divided(const ox_adapted_rows *rows, const ox_adapter_set *applied, int32_t i,
                         const ox_adapter_pair *pair, int32_t offset, int32_t first, int32_t end, float *parts,
                         ox_atomic_i32 *done, int32_t turn, const ox_member *member) noexcept nogil:
    """The same for a plain product, of which this thread takes every so many-th block. turn: of the first of them."""
    cdef const ox_program *program = rows.program
    cdef const ox_activations *acts = &program.buffers[rows.op.src[0]].acts
    cdef int32_t block, n_stretches = pair.fold * pair.n_blocks
    cdef size_t row_parts = <size_t>n_stretches * pair.rank
    for block in range(pair.n_blocks):
        if (turn + block) % member.size != member.index:
            continue
        multiply_stretches(program, pair, 0, block, acts.values + <size_t>first * acts.value_stride, acts.value_stride,
                           end - first, parts + block * pair.fold * pair.rank, row_parts, pair.rank, False, member)
        # Whoever is last adds up, in the order of the input.
        if ox_fetch_add_acq_rel_i32(done, 1) == pair.n_blocks - 1:
            ox_store_relaxed_i32(done, 0)
            finish_parts(rows, pair, factor_of(applied, i, pair), first, end, offset, parts)


cdef void shrink_product(ox_program *program, const ox_op *op, ox_batch *batch, int32_t n_rows,
                         const ox_member *member) noexcept nogil:
    cdef ox_adapted_rows rows = adapted_rows(program, op, batch)
    cdef const ox_adapter_set *applied
    cdef const ox_adapter_pair *pair
    cdef int32_t first = 0, last, i, m, offset, turn = 0, n_entries = 0
    cdef size_t used = 0, needed
    cdef bint is_divided
    # Every member counts alike, so they agree on whose turn it is.
    while first < n_rows:
        applied = set_of(&rows, first)
        last = stretch_end(&rows, first, n_rows)
        is_divided = last - first <= OX_FEW_ROWS and member.size > 1
        last = min(last, first + OX_FEW_ROWS)
        offset = 0
        for i in range(applied.n if applied != NULL else 0):
            for m in range(op.n_mats):
                pair = &applied.adapters[i].sites[op.site].pairs[m]
                if pair.rank == 0 or pair.is_shared:
                    continue
                needed = <size_t>(last - first) * pair.fold * pair.n_blocks * pair.rank
                if is_divided and n_entries < OX_ADAPTER_ENTRIES and used + needed <= OX_ADAPTER_PARTS:
                    shrink_divided(&rows, applied, i, pair, offset + pair.offset, first, last, batch.room.parts + used,
                                   &batch.room.done[n_entries], turn, member)
                    used += needed
                    n_entries += 1
                    turn += pair.n_blocks
                else:
                    if turn % member.size == member.index:
                        shrink_pair(&rows, applied, i, pair, offset + pair.offset, 0, first, last, member)
                    turn += 1
            offset += applied.adapters[i].sites[op.site].width
        first = last


cdef void expand(const ox_adapted_rows *rows, int32_t number, int32_t index, int32_t group, int32_t first, int32_t end,
                 float *out, size_t out_stride, const ox_member *member) noexcept nogil:
    cdef const ox_adapter_set *applied
    cdef const ox_adapter_pair *pair
    cdef ox_activations acts
    cdef ox_matrix b
    cdef int32_t i, last, offset, begin = first
    acts.forms = 0
    acts.blocks = acts.blocks32 = NULL
    acts.rounded = NULL
    acts.value_stride = rows.batch.adapted_width
    while first < end:
        applied = set_of(rows, first)
        last = stretch_end(rows, first, end)
        offset = 0
        for i in range(applied.n if applied != NULL else 0):
            pair = &applied.adapters[i].sites[rows.op.site].pairs[number]
            if pair.rank > 0:
                acts.k = pair.rank
                acts.max_rows = last - first
                acts.values = values_of(rows.batch, first) + offset + pair.offset
                b = matrix_of(&pair.b, index, NULL)
                rows.program.kernels.matmul_group(&b, group, &acts, last - first, out + (first - begin) * out_stride,
                                                  out_stride, 1, member.scratch)
            offset += applied.adapters[i].sites[rows.op.site].width
        first = last


cdef void embed_adapted(ox_program *program, const ox_op *op, const ox_batch *batch, int32_t row, int32_t index,
                        float *out) noexcept nogil:
    # A row operation: the thread has the row, and its place among the values, to itself.
    cdef const ox_adapter_set *applied = program.token_sets[row]
    cdef const ox_adapter_pair *pair
    cdef ox_activations acts
    cdef float *values = values_of(batch, row)
    cdef int32_t i, group
    # One row of a product needs no panel, so this much is enough for any level.
    cdef double scratch[8]
    if applied == NULL:
        return
    acts.forms = 0
    acts.blocks = acts.blocks32 = NULL
    acts.rounded = NULL
    acts.max_rows = 1
    acts.value_stride = batch.adapted_width
    acts.values = values
    for i in range(applied.n):
        pair = &applied.adapters[i].sites[op.site].pairs[0]
        if pair.rank == 0:
            continue
        program.kernels.unpack_row(&pair.a, index, values)
        scale_values(values, pair.rank, factor_of(applied, i, pair))
        acts.k = pair.rank
        for group in range(groups_of(&pair.b)):
            program.kernels.matmul_group(&pair.b, group, &acts, 1, out + group * OX_GROUP_ROWS, 0, 1, scratch)
