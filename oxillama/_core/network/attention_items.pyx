"""The work of attention as items that any thread may take: pieces of runs, KV heads, and for long contexts key ranges.

A sequence that writes one token has as many items as KV heads. Where these are too few for the threads, each is
divided further into ranges of 1024 keys; whoever ends the last range of a head merges them, in ascending order, so that
the bits are those of one thread walking all keys. No barrier more than before."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t

from oxillama._core.network.executor cimport blocks_of, ox_buffer, ox_member, ox_op, ox_run
from oxillama._core.network.kernels cimport (
    OX_ATTN_RANGE,
    OX_KV_BLOCK,
    ox_attended_keys,
    ox_attention_run,
    ox_kv_layout,
    ox_span,
)
from oxillama._core.scheduling.kv_cache cimport ox_kv_store
from oxillama._core.network.operations cimport Operation, register_work

cdef extern from "<stdatomic.h>" nogil:
    int32_t __atomic_fetch_add(int32_t *target, int32_t value, int order) noexcept
    void __atomic_store_n(int32_t *target, int32_t value, int order) noexcept
    int __ATOMIC_RELAXED
    int __ATOMIC_ACQ_REL

cdef enum:
    # Tokens of one item: enough rows to pay for converting a KV tile, few enough to balance a prompt.
    PIECE_TOKENS = 16
    # With fewer items than this per thread, some threads would wait long for others.
    ITEMS_PER_THREAD = 4


cdef int32_t attention_max_parts(int32_t n_kv_blocks, int32_t n_head_kv, int n_threads) noexcept nogil:
    # The whole cache, and what rounding adds for each sequence; ones that share it more often stay undivided.
    cdef int32_t ranges = n_kv_blocks // (OX_ATTN_RANGE // OX_KV_BLOCK) + 1
    return ranges * n_head_kv + ITEMS_PER_THREAD * n_threads


cdef void plan_attention(ox_program *program, ox_batch *batch) noexcept nogil:
    cdef int32_t i, n_parts = 0, n_items = 0
    cdef ox_run *run
    for i in range(batch.n_runs):
        run = &batch.runs[i]
        run.n_ranges = 1
        run.first_part = 0
        n_items += (run.n_tokens + PIECE_TOKENS - 1) // PIECE_TOKENS
    if (program.n_threads > 1 and program.max_parts > 0
            and n_items * program.fewest_kv_heads < ITEMS_PER_THREAD * program.n_threads):
        for i in range(batch.n_runs):
            run = &batch.runs[i]
            if run.n_tokens == 1:
                divide(run, program.most_kv_heads, &n_parts, program.max_parts)
    n_items = 0
    for i in range(batch.n_runs):
        run = &batch.runs[i]
        run.first_item = n_items
        n_items += (run.n_tokens + PIECE_TOKENS - 1) // PIECE_TOKENS * run.n_ranges
    program.n_attention_items = n_items


cdef void divide(ox_run *run, int32_t n_head_kv, int32_t *n_parts, int32_t max_parts) noexcept nogil:
    cdef int32_t n_ranges = run.first_position // OX_ATTN_RANGE + 1
    if n_ranges > 1 and n_parts[0] + n_ranges * n_head_kv <= max_parts:
        run.n_ranges = n_ranges
        run.first_part = n_parts[0]
        n_parts[0] += n_ranges * n_head_kv


cdef inline int32_t group_of(const ox_program *program, const ox_op *op) noexcept nogil:
    return op.integers[1] // program.kv_stores[op.integers[0]].layout.n_head_kv


cdef void prepare_attention(ox_program *program, const ox_op *op) noexcept nogil:
    # Parts are as large as the largest; where one operation cannot be divided, none is.
    cdef const ox_kv_layout *layout = &program.kv_stores[op.integers[0]].layout
    cdef size_t floats = program.kernels.attention_part_floats(layout, group_of(program, op))
    if program.most_kv_heads == 0:
        program.part_floats = floats
        program.fewest_kv_heads = layout.n_head_kv
    program.part_floats = max(program.part_floats, floats) if floats > 0 and program.part_floats > 0 else 0
    program.most_kv_heads = max(program.most_kv_heads, layout.n_head_kv)
    program.fewest_kv_heads = min(program.fewest_kv_heads, layout.n_head_kv)


cdef size_t attention_scratch(const ox_program *program, const ox_op *op) noexcept nogil:
    return program.kernels.attention_scratch(&program.kv_stores[op.integers[0]].layout, group_of(program, op))


cdef void attention(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                    const ox_member *member) noexcept nogil:
    # dst = attention of src (queries) over a store of the cache; vectors: slopes, sinks
    cdef ox_attention_run args
    cdef ox_buffer *q = &program.buffers[op.src[0]]
    cdef ox_buffer *out = &program.buffers[op.dst[0]]
    cdef const ox_kv_store *store = &program.kv_stores[op.integers[0]]
    cdef ox_run *run
    cdef int32_t item, r = 0, piece, range_of_item, head
    cdef int32_t n_head_kv = store.layout.n_head_kv
    args.q_stride = q.stride
    args.out_stride = out.stride
    args.group = group_of(program, op)
    args.window = op.integers[2]
    args.span = <ox_span>op.integers[3]
    args.scale = op.floats[0]
    args.soft_cap = op.floats[1]
    args.layer = store.data
    args.scratch = member.scratch
    while True:
        # Later tokens see more keys, so items differ in length: all of them are shared.
        item = __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED)
        if item >= program.n_attention_items * n_head_kv:
            return
        while r + 1 < batch.n_runs and batch.runs[r + 1].first_item * n_head_kv <= item:
            r += 1
        run = &batch.runs[r]
        item -= run.first_item * n_head_kv
        range_of_item = item % run.n_ranges
        item //= run.n_ranges
        piece = item // n_head_kv * PIECE_TOKENS
        args.head_kv = item % n_head_kv
        head = args.head_kv * args.group
        args.n_tokens = min(<int32_t>PIECE_TOKENS, run.n_tokens - piece)
        args.first_position = run.first_position + piece
        args.n_keys = run.first_position + run.n_tokens
        args.q = q.data + (run.first_row + piece) * q.stride + head * store.layout.k_dim
        args.out = out.data + (run.first_row + piece) * out.stride + head * store.layout.v_dim
        args.slopes = op.vectors[0] + head if op.vectors[0] != NULL else NULL
        args.sinks = op.vectors[1] + head if op.vectors[1] != NULL else NULL
        args.blocks = blocks_of(run, store)
        if run.n_ranges == 1:
            program.kernels.attention(&store.layout, &args)
        else:
            attend_range(program, &store.layout, run, &args, range_of_item)


cdef void attend_range(ox_program *program, const ox_kv_layout *layout, ox_run *run, ox_attention_run *args,
                       int32_t index) noexcept nogil:
    cdef int32_t part = run.first_part + args.head_kv * run.n_ranges
    cdef float *parts = program.parts + part * program.part_floats
    cdef size_t size = program.kernels.attention_part_floats(layout, args.group)
    cdef int32_t first, end
    ox_attended_keys(args, args.first_position, &first, &end)
    first //= OX_ATTN_RANGE
    if index >= first:  # all keys of an earlier one have left the window
        program.kernels.attention_range(layout, args, index * OX_ATTN_RANGE, parts + index * size)
    if __atomic_fetch_add(&program.parts_done[part], 1, __ATOMIC_ACQ_REL) + 1 == run.n_ranges:
        program.kernels.attention_merge(layout, args, run.n_ranges - first, parts + first * size)
        __atomic_store_n(&program.parts_done[part], 0, __ATOMIC_RELAXED)  # the next operation is behind a barrier


cdef Operation row = register_work("attention", "attention", attention, ("store", "n_heads", "window", "span"),
                                   ("scale", "soft_cap"))
row.c.scratch = attention_scratch
row.c.prepare = prepare_attention
