"""The work of attention as items that any thread may take: pieces of runs, KV heads, and for long contexts key ranges.

A sequence that writes one token has as many items as KV heads. Where these are too few for the threads, each is
divided further into ranges of 1024 keys; whoever ends the last range of a head merges them, in ascending order, so that
the bits are those of one thread walking all keys. No barrier more than before."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t

from oxillama._core.executor cimport ox_buffer, ox_member, ox_op, ox_run
from oxillama._core.kernels cimport OX_ATTN_RANGE, OX_KV_BLOCK, ox_attention_run
from oxillama._core.operations cimport Operation, register_work

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
    cdef int32_t n_head_kv = program.kv_layout.n_head_kv
    cdef int32_t i, n_parts = 0, n_items = 0
    cdef ox_run *run
    for i in range(batch.n_runs):
        run = &batch.runs[i]
        run.n_ranges = 1
        run.first_part = 0
        n_items += (run.n_tokens + PIECE_TOKENS - 1) // PIECE_TOKENS * n_head_kv
    if program.n_threads > 1 and program.max_parts > 0 and n_items < ITEMS_PER_THREAD * program.n_threads:
        for i in range(batch.n_runs):
            run = &batch.runs[i]
            if run.n_tokens == 1:
                divide(run, n_head_kv, &n_parts, program.max_parts)
    n_items = 0
    for i in range(batch.n_runs):
        run = &batch.runs[i]
        run.first_item = n_items
        n_items += (run.n_tokens + PIECE_TOKENS - 1) // PIECE_TOKENS * n_head_kv * run.n_ranges
    program.n_attention_items = n_items


cdef void divide(ox_run *run, int32_t n_head_kv, int32_t *n_parts, int32_t max_parts) noexcept nogil:
    cdef int32_t n_ranges = run.first_position // OX_ATTN_RANGE + 1
    if n_ranges > 1 and n_parts[0] + n_ranges * n_head_kv <= max_parts:
        run.n_ranges = n_ranges
        run.first_part = n_parts[0]
        n_parts[0] += n_ranges * n_head_kv


cdef size_t attention_scratch(const ox_program *program, const ox_op *op) noexcept nogil:
    return program.kernels.attention_scratch(&program.kv_layout, program.max_group)


cdef void attention(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                    const ox_member *member) noexcept nogil:
    # dst = attention of src (queries) over the cache of a layer
    cdef ox_attention_run args
    cdef ox_buffer *q = &program.buffers[op.src[0]]
    cdef ox_buffer *out = &program.buffers[op.dst[0]]
    cdef ox_run *run
    cdef int32_t item, r = 0, piece, range_of_item
    cdef size_t column
    cdef int32_t n_head_kv = program.kv_layout.n_head_kv
    cdef int32_t n_heads = op.integers[1]
    args.q_stride = q.stride
    args.out_stride = out.stride
    args.group = n_heads // n_head_kv
    args.window = op.integers[2]
    args.scale = op.floats[0]
    args.layer = program.kv_data + op.integers[0] * program.kv_layer_bytes
    args.scratch = member.scratch
    while True:
        # Later tokens see more keys, so items differ in length: all of them are shared.
        item = __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED)
        if item >= program.n_attention_items:
            return
        while r + 1 < batch.n_runs and batch.runs[r + 1].first_item <= item:
            r += 1
        run = &batch.runs[r]
        item -= run.first_item
        range_of_item = item % run.n_ranges
        item //= run.n_ranges
        piece = item // n_head_kv * PIECE_TOKENS
        args.head_kv = item % n_head_kv
        column = <size_t>args.head_kv * args.group * (q.width // n_heads)
        args.n_tokens = min(<int32_t>PIECE_TOKENS, run.n_tokens - piece)
        args.first_position = run.first_position + piece
        args.q = q.data + (run.first_row + piece) * q.stride + column
        args.out = out.data + (run.first_row + piece) * out.stride + column
        args.blocks = run.blocks
        if run.n_ranges == 1:
            program.kernels.attention(&program.kv_layout, &args)
        else:
            attend_range(program, run, &args, range_of_item)


cdef void attend_range(ox_program *program, ox_run *run, ox_attention_run *args, int32_t index) noexcept nogil:
    cdef int32_t part = run.first_part + args.head_kv * run.n_ranges
    cdef float *parts = program.parts + part * program.part_floats
    cdef size_t size = program.kernels.attention_part_floats(&program.kv_layout, args.group)
    cdef int32_t first = 0
    if args.window > 0 and args.first_position >= args.window:
        first = (args.first_position - args.window + 1) // OX_ATTN_RANGE
    if index >= first:  # all keys of an earlier one have left the window
        program.kernels.attention_range(&program.kv_layout, args, index * OX_ATTN_RANGE, parts + index * size)
    if __atomic_fetch_add(&program.parts_done[part], 1, __ATOMIC_ACQ_REL) + 1 == run.n_ranges:
        program.kernels.attention_merge(&program.kv_layout, args, run.n_ranges - first, parts + first * size)
        __atomic_store_n(&program.parts_done[part], 0, __ATOMIC_RELAXED)  # the next operation is behind a barrier


cdef Operation row = register_work("attention", "attention", attention, ("layer", "n_heads", "window"), ("scale",))
row.c.scratch = attention_scratch
