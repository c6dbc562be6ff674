"""Walks a program over a batch with a team of threads.

Threads divide rows, weight groups and attention items among them, never a sum, so their number changes no bit."""

from cython.parallel cimport parallel, threadid
from libc.math cimport cos, sin
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from openmp cimport omp_get_num_threads

from oxillama._core.atomics cimport ox_load_acquire_ptr, ox_load_relaxed_i32, ox_store_relaxed_i32
from oxillama._core.attention_items cimport attend, plan_attention
from oxillama._core.kernels cimport OX_GROUP_ROWS, OX_KV_BLOCK, ox_matrix
from oxillama._core.parking cimport ox_monotonic_ns
from oxillama._core.profile cimport profile_add, profile_lap

cdef extern from "<stdatomic.h>" nogil:
    int32_t __atomic_fetch_add(int32_t *target, int32_t value, int order) noexcept
    int __ATOMIC_RELAXED

cdef enum:
    # One part in this many of the weight groups is left to whoever is done first; the rest is one stretch per thread,
    # which memory likes better. Beside other programs, which keep a thread from its stretch, all of them are.
    SHARED_TAIL = 8
    SHARED_ALL = 1
    # Beside other programs a barrier costs some 0.2 ms, whatever stands between two of them. A step with fewer
    # multiply-adds per barrier than one thread does in about 0.02 ms is then run alone; the team tries again later.
    SMALL_PRODUCTS = 2000000
    ALONE_NS = 500000000


ctypedef struct Member:
    # One thread's place in the team.
    int32_t index
    int32_t size
    uint8_t *scratch
    ox_profile *profile    # of the one member that is timed, else NULL


cdef int execute(ox_program *program, ox_batch *batch) noexcept nogil:
    cdef int32_t i, row, n_items = plan_attention(program, batch)
    cdef ox_run *run
    cdef ox_profile *profile = <ox_profile *>ox_load_acquire_ptr(&program.profile)
    cdef int64_t begin = ox_monotonic_ns()
    cdef bint is_small = program.row_products * batch.n_tokens < <int64_t>SMALL_PRODUCTS * program.n_barriers
    for i in range(batch.n_runs):
        run = &batch.runs[i]
        for row in range(run.first_row, run.first_row + run.n_tokens):
            program.row_runs[row] = i
    program.shared = SHARED_ALL if ox_barrier_is_crowded(&program.barrier) else SHARED_TAIL
    memset(program.counters, 0, program.n_ops * sizeof(int32_t))
    ox_store_relaxed_i32(&program.stop_at, -1)
    if program.n_threads == 1 or (is_small and begin < program.alone_until_ns):
        enter(program, batch, n_items, 0, 1, profile)
    else:
        with parallel(num_threads=program.n_threads):
            enter(program, batch, n_items, threadid(), omp_get_num_threads(), profile)
        if is_small and ox_barrier_is_crowded(&program.barrier):
            program.alone_until_ns = ox_monotonic_ns() + ALONE_NS
    if profile != NULL:
        profile_add(&profile.walk_ns, ox_monotonic_ns() - begin)
        profile_add(&profile.n_steps, 1)
    return OX_STEP_DONE if ox_load_relaxed_i32(&program.stop_at) < 0 else OX_STEP_ABANDONED


cdef void enter(ox_program *program, ox_batch *batch, int32_t n_items, int32_t index, int32_t size,
                ox_profile *profile) noexcept nogil:
    # A host library may have left another rounding or denormal mode in this thread.
    cdef uint64_t fp_mode = ox_default_fp_mode()
    cdef Member member
    member.index = index
    member.size = size
    member.scratch = program.scratch + index * program.scratch_bytes
    member.profile = profile if index == 0 else NULL
    walk(program, batch, n_items, &member)
    ox_restore_fp_mode(fp_mode)


cdef void walk(ox_program *program, ox_batch *batch, int32_t n_items, const Member *member) noexcept nogil:
    cdef int32_t i, first, last, n_rows
    cdef ox_op *op
    cdef int64_t time = ox_monotonic_ns() if member.profile != NULL else 0
    for i in range(program.n_ops):
        op = &program.ops[i]
        if op.barrier:
            if op.checkpoint and member.index == 0 and batch.abandon != NULL and batch.abandon(batch.context):
                ox_store_relaxed_i32(&program.stop_at, i)
            ox_barrier_wait(&program.barrier, member.size)
            # The index, not a flag: thread 0 may already be at the next checkpoint when a slow thread reads this.
            if op.checkpoint and ox_load_relaxed_i32(&program.stop_at) == i:
                return
            if member.profile != NULL:
                time = profile_lap(&member.profile.wait_ns[i], time)
        if op.space == OX_ROWS_TOKENS:
            n_rows = batch.n_tokens
        elif op.space == OX_ROWS_OUTPUTS:
            n_rows = batch.n_outputs
        else:
            n_rows = batch.n_logits
        if n_rows == 0:
            continue
        if op.kind == OX_OP_MATMUL:
            matmul(program, op, i, n_rows, member)
        elif op.kind == OX_OP_MATMUL_SWIGLU:
            matmul_swiglu(program, op, i, n_rows, member)
        elif op.kind == OX_OP_ATTENTION:
            attend(program, op, &program.counters[i], batch, n_items, member.scratch)
        else:
            first = <int32_t>(<long long>n_rows * member.index // member.size)
            last = <int32_t>(<long long>n_rows * (member.index + 1) // member.size)
            rows(program, op, batch, first, last)
        if member.profile != NULL:
            time = profile_lap(&member.profile.op_ns[i], time)


cdef inline float *row_of(ox_program *program, int32_t buffer, int32_t row) noexcept nogil:
    return program.buffers[buffer].data + row * program.buffers[buffer].stride


cdef void rows(ox_program *program, ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    """Operations that work row by row. The same thread has the same rows in every operation of a phase."""
    cdef int32_t row, head, width = program.buffers[op.dst[0]].width
    cdef float *out
    for row in range(first, last):
        out = row_of(program, op.dst[0], row)
        if op.kind == OX_OP_EMBED:
            program.kernels.unpack_row(&op.mats[0], batch.tokens[row], out)
        elif op.kind == OX_OP_ROPE_TABLE:
            rope_table(op, position_of(program, batch, row), out)
        elif op.kind == OX_OP_RMS_NORM:
            for head in range(op.n_heads):
                program.kernels.rms_norm(op.head_dim, row_of(program, op.src, row) + head * op.head_dim, op.vector,
                                         op.scalar, out + head * op.head_dim)
        elif op.kind == OX_OP_QUANTIZE:
            program.kernels.quantize_row(&program.buffers[op.src].acts, row)
        elif op.kind == OX_OP_ADD:
            program.kernels.add(width, row_of(program, op.src, row), row_of(program, op.src2, row), out)
        elif op.kind == OX_OP_SWIGLU:
            program.kernels.swiglu(width, row_of(program, op.src, row), row_of(program, op.src2, row), out)
        elif op.kind == OX_OP_ROPE:
            program.kernels.rope(op.rope_layout, op.n_heads, op.head_dim, op.rope_dims,
                                 row_of(program, op.src2, row), out)
        elif op.kind == OX_OP_KV_STORE:
            kv_store(program, op, batch, row)
        elif op.kind == OX_OP_SELECT:
            memcpy(out, row_of(program, op.src, batch.output_rows[row]), width * sizeof(float))


cdef inline int32_t position_of(ox_program *program, ox_batch *batch, int32_t row) noexcept nogil:
    cdef ox_run *run = &batch.runs[program.row_runs[row]]
    return run.first_position + row - run.first_row


cdef void rope_table(ox_op *op, int32_t position, float *out) noexcept nogil:
    # In double, so that far positions keep their angle; n cosines, then n sines.
    cdef int32_t j, n = op.rope_dims // 2
    cdef double angle
    for j in range(n):
        angle = position * <double>op.vector[j]
        out[j] = <float>(cos(angle) * op.scalar)
        out[n + j] = <float>(sin(angle) * op.scalar)


cdef void kv_store(ox_program *program, ox_op *op, ox_batch *batch, int32_t row) noexcept nogil:
    cdef int32_t position = position_of(program, batch, row)
    cdef int32_t block = batch.runs[program.row_runs[row]].blocks[position // OX_KV_BLOCK]
    program.kernels.kv_store(&program.kv_layout, row_of(program, op.src, row), row_of(program, op.src2, row),
                             position % OX_KV_BLOCK,
                             program.kv_data + op.layer * program.kv_layer_bytes
                             + block * program.kv_layout.block_bytes)


cdef int32_t n_groups(const ox_matrix *matrix) noexcept nogil:
    return (matrix.rows + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS


ctypedef struct Share:
    # What one thread takes of `total` items: first a range of its own, in order, then single items of the shared tail.
    int32_t next, last, tail, total


cdef Share share_of(int32_t total, int32_t shared, const Member *member) noexcept nogil:
    cdef Share share
    share.total = total
    share.tail = total - total // shared if member.size > 1 else total
    share.next = <int32_t>(<long long>share.tail * member.index // member.size)
    share.last = <int32_t>(<long long>share.tail * (member.index + 1) // member.size)
    return share


cdef int32_t take(Share *share, int32_t *counter) noexcept nogil:
    """The next item, or -1."""
    cdef int32_t item
    if share.next < share.last:
        share.next += 1
        return share.next - 1
    if share.tail == share.total:
        return -1
    item = share.tail + __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED)
    return item if item < share.total else -1


cdef void matmul(ox_program *program, ox_op *op, int32_t index, int32_t n, const Member *member) noexcept nogil:
    cdef int32_t m, item, total = 0
    cdef ox_buffer *out
    cdef Share share
    for m in range(op.n_mats):
        total += n_groups(&op.mats[m])
    share = share_of(total, program.shared, member)
    while True:
        item = take(&share, &program.counters[index])
        if item < 0:
            return
        m = 0
        while item >= n_groups(&op.mats[m]):
            item -= n_groups(&op.mats[m])
            m += 1
        out = &program.buffers[op.dst[m]]
        program.kernels.matmul_group(&op.mats[m], item, &program.buffers[op.src].acts, n,
                                     out.data + item * OX_GROUP_ROWS, out.stride, op.accumulate, member.scratch)


cdef void matmul_swiglu(ox_program *program, ox_op *op, int32_t index, int32_t n, const Member *member) noexcept nogil:
    # Both factors of a group land in the thread's scratch, so that they never travel through memory.
    cdef float *gate = <float *>(member.scratch + program.kernels.matmul_scratch(program.max_tokens))
    cdef float *up = gate + program.max_tokens * OX_GROUP_ROWS
    cdef ox_buffer *out = &program.buffers[op.dst[0]]
    cdef Share share = share_of(n_groups(&op.mats[0]), program.shared, member)
    cdef int32_t item, row, width
    while True:
        item = take(&share, &program.counters[index])
        if item < 0:
            return
        program.kernels.matmul_group(&op.mats[0], item, &program.buffers[op.src].acts, n, gate, OX_GROUP_ROWS, 0,
                                     member.scratch)
        program.kernels.matmul_group(&op.mats[1], item, &program.buffers[op.src].acts, n, up, OX_GROUP_ROWS, 0,
                                     member.scratch)
        width = min(OX_GROUP_ROWS, op.mats[0].rows - item * OX_GROUP_ROWS)
        for row in range(n):
            program.kernels.swiglu(width, gate + row * OX_GROUP_ROWS, up + row * OX_GROUP_ROWS,
                                   out.data + row * out.stride + item * OX_GROUP_ROWS)
