"""Operations that carry something of a sequence from token to token: causal convolutions and linear recurrences, and
the row operations that go with them.

A piece of work is some channels, or some lanes of a head, of all tokens of a sequence in the step, in their order. So
no two pieces touch the same part of a state, and no bit depends on how a prompt is cut, on company, or on threads."""

from libc.stdint cimport int32_t
from libc.string cimport memcpy, memmove, memset

from oxillama._core.network.executor cimport (
    OX_MAX_READS,
    kept_of,
    ox_batch,
    ox_buffer,
    ox_member,
    ox_op,
    ox_program,
    ox_run,
    row_of,
    snapshot_of,
    state_of,
)
from oxillama._core.network.kernels cimport (
    OX_RULE_BONUS,
    OX_RULE_DELTA,
    OX_RULE_PAIRED,
    OX_RULE_PLAIN,
    OX_RULE_SCAN,
    ox_recurrence,
    ox_row_series,
    ox_rule,
)
from oxillama._core.network.operations cimport Operation, register_rows, register_work
from oxillama._core.network.shares cimport ox_share, share_of, share_take

cdef enum:
    MOST_TAPS = 16
    PIECE_CHANNELS = 256  # of a convolution
    PIECE_LANES = 64      # of a recurrence: with 128 keys their state fills the first-level cache

MAX_TAPS = MOST_TAPS
# The numbers of the rules, by name; csrc/kernels.h says what each of them is.
RULES = {
    "plain": <int>OX_RULE_PLAIN,
    "delta": <int>OX_RULE_DELTA,
    "scan": <int>OX_RULE_SCAN,
    "bonus": <int>OX_RULE_BONUS,
    "paired": <int>OX_RULE_PAIRED,
}


cdef void shift_inputs(float *to, const float *state, size_t width, int32_t n_kept, const float *rows, size_t stride,
                       int32_t n_rows, int32_t n) noexcept nogil:
    # n channels of the state after so many rows more; `to` may be the state itself.
    cdef int32_t tap, position
    for tap in range(n_kept):
        position = n_rows + tap - n_kept
        if position < 0:
            memmove(to + tap * width, state + (tap + n_rows) * width, n * sizeof(float))
        else:
            memcpy(to + tap * width, rows + position * stride, n * sizeof(float))


cdef void convolve_run(ox_program *program, const ox_op *op, const ox_run *run, int32_t first,
                       int32_t n) noexcept nogil:
    # Channels [first, first + n) of all tokens of a run. The state is the last n_taps - 1 inputs, the oldest first.
    cdef ox_buffer *x = &program.buffers[op.src[0]]
    cdef int32_t offset = op.integers[0] + first, n_taps = op.integers[1], n_kept = n_taps - 1, row, tap, position
    cdef float *state = state_of(program, run, offset)
    cdef const float *rows = row_of(program, op.src[0], run.first_row) + first
    cdef const float *inputs[MOST_TAPS]
    for tap in range(n_kept):
        if run.first_position == 0:
            memset(state + tap * x.width, 0, n * sizeof(float))
        elif run.restored >= 0:
            memcpy(state + tap * x.width, snapshot_of(program, run.restored, offset) + tap * x.width,
                   n * sizeof(float))
    for row in range(run.n_tokens):
        for tap in range(n_taps):
            position = row + tap - n_kept
            if position < 0:
                inputs[tap] = state + (position + n_kept) * x.width
            else:
                inputs[tap] = rows + position * x.stride
        program.kernels.convolve(n, n_taps, inputs, op.vectors[0] + first, x.width,
                                 op.vectors[1] + first if op.vectors[1] != NULL else NULL,
                                 row_of(program, op.dst[0], run.first_row + row) + first)
    take_inputs(program, op, run, first, n, rows, x.stride, 0, run.n_tokens - run.n_drafts)
    for row in range(run.n_drafts):
        memcpy(kept_of(program, run, op.integers[2] + first) + row * program.kept_floats,
               rows + (run.n_tokens - run.n_drafts + row) * x.stride, n * sizeof(float))


cdef void take_inputs(ox_program *program, const ox_op *op, const ox_run *run, int32_t first, int32_t n,
                      const float *rows, size_t stride, int32_t begin, int32_t n_rows) noexcept nogil:
    # The state takes in n_rows rows, `begin` tokens into the run.
    cdef size_t width = program.buffers[op.src[0]].width
    cdef int32_t offset = op.integers[0] + first, n_kept = op.integers[1] - 1, i, taken
    cdef float *state = state_of(program, run, offset)
    for i in range(run.n_marks):
        taken = run.marks[i].n_tokens - begin
        if 0 < taken <= n_rows:
            shift_inputs(snapshot_of(program, run.marks[i].snapshot, offset), state, width, n_kept, rows, stride, taken,
                         n)
    shift_inputs(state, state, width, n_kept, rows, stride, n_rows, n)


cdef void replay_convolution(ox_program *program, const ox_op *op, const ox_run *run) noexcept nogil:
    take_inputs(program, op, run, 0, program.buffers[op.src[0]].width, kept_of(program, run, op.integers[2]),
                program.kept_floats, run.n_tokens - run.n_drafts, run.n_accepted)


cdef void causal_convolution(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                             const ox_member *member) noexcept nogil:
    # dst = the last n_taps rows of src, channel by channel; vectors: weight [n_taps][width], bias [width] or NULL
    cdef int32_t width = program.buffers[op.src[0]].width, piece, i
    cdef ox_share share = share_of((width + PIECE_CHANNELS - 1) // PIECE_CHANNELS, program.shared, member)
    while True:
        piece = share_take(&share, counter)
        if piece < 0:
            return
        for i in range(batch.n_runs):
            convolve_run(program, op, &batch.runs[i], piece * PIECE_CHANNELS,
                         min(<int32_t>PIECE_CHANNELS, width - piece * PIECE_CHANNELS))

# The numbers of a recurrence's parameters and of what it reads.
cdef enum:
    STATE = 0
    RULE = 1
    N_HEADS = 2
    N_KEY_HEADS = 3
    IS_TILED = 4   # a head's key head is head % n_key_heads, else head // (n_heads / n_key_heads)
    K_DIM = 5
    V_DIM = 6
    HAS_STEP = 7   # PLAIN, SCAN and DELTA: the last of what is read
    KEPT = 8       # where all that is read lies in what is kept of a draft, one after another


ctypedef struct Reads:
    # Rows of what a recurrence reads: of the buffers, or of what was kept of drafts.
    float *rows[OX_MAX_READS]
    size_t strides[OX_MAX_READS]


cdef int32_t num_reads(const ox_op *op) noexcept nogil:
    if op.integers[RULE] == OX_RULE_PAIRED:
        return 6
    return 4 if op.integers[RULE] == OX_RULE_SCAN else 4 + op.integers[HAS_STEP]


cdef void read_buffers(const ox_program *program, const ox_op *op, const ox_run *run, Reads *reads) noexcept nogil:
    cdef int32_t i
    for i in range(num_reads(op)):
        reads.rows[i] = row_of(program, op.src[i], run.first_row)
        reads.strides[i] = program.buffers[op.src[i]].stride


cdef void read_kept(const ox_program *program, const ox_op *op, const ox_run *run, Reads *reads) noexcept nogil:
    cdef int32_t i, offset = op.integers[KEPT]
    for i in range(num_reads(op)):
        reads.rows[i] = kept_of(program, run, offset)
        reads.strides[i] = program.kept_floats
        offset += program.buffers[op.src[i]].width


cdef inline ox_row_series series(const Reads *reads, int32_t i, int32_t column) noexcept nogil:
    cdef ox_row_series found
    found.data = reads.rows[i] + column
    found.stride = reads.strides[i]
    return found


cdef size_t state_offset(const ox_op *op, int32_t head, int32_t lane) noexcept nogil:
    # A piece lies together: with whole rows of a head between its own, half of the first-level cache would be idle.
    return op.integers[STATE] + <size_t>op.integers[K_DIM] * (head * op.integers[V_DIM] + lane)


cdef ox_recurrence recurrence_of(ox_program *program, const ox_op *op, const ox_run *run, const Reads *reads,
                                 int32_t head, int32_t lane) noexcept nogil:
    # All but the tokens and the results.
    cdef ox_recurrence r
    cdef int32_t n_heads = op.integers[N_HEADS], n_key_heads = op.integers[N_KEY_HEADS]
    cdef int32_t k_dim = op.integers[K_DIM], v_dim = op.integers[V_DIM], next_read = 3
    cdef int32_t key_head = head % n_key_heads if op.integers[IS_TILED] else head // (n_heads // n_key_heads)
    memset(&r, 0, sizeof(r))
    r.rule = <ox_rule>op.integers[RULE]
    r.k_dim = k_dim
    r.v_dim = min(<int32_t>PIECE_LANES, v_dim - lane)
    r.state = state_of(program, run, 0) + state_offset(op, head, lane)
    r.state_stride = r.v_dim
    r.q = series(reads, 0, key_head * k_dim)
    r.k = series(reads, 1, key_head * k_dim)
    r.v = series(reads, 2, head * v_dim + lane)
    if r.rule == OX_RULE_SCAN:
        r.rates = op.vectors[0] + lane
        r.rate_stride = v_dim
    else:
        # one factor for each head, or one for each of its keys
        r.decay_by_key = program.buffers[op.src[3]].width != n_heads
        r.decay = series(reads, 3, head * (k_dim if r.decay_by_key else 1))
        next_read += 1
    if r.rule == OX_RULE_BONUS:
        r.bonus = op.vectors[0] + head * k_dim
    elif r.rule == OX_RULE_PAIRED:
        r.a = series(reads, 4, head * k_dim)
        r.b = series(reads, 5, head * k_dim)
    elif op.integers[HAS_STEP]:
        r.step = series(reads, next_read, lane if r.rule == OX_RULE_SCAN else head)
    return r


cdef void pass_rows(ox_row_series *rows, int32_t n) noexcept nogil:
    if rows.data != NULL:
        rows.data += n * rows.stride


cdef void advance(const ox_program *program, ox_recurrence *r, int32_t n) noexcept nogil:
    # The next n tokens.
    if n <= 0:
        return
    r.n_tokens = n
    program.kernels.recur(r)
    pass_rows(&r.q, n)
    pass_rows(&r.k, n)
    pass_rows(&r.v, n)
    pass_rows(&r.decay, n)
    pass_rows(&r.step, n)
    pass_rows(&r.a, n)
    pass_rows(&r.b, n)
    r.out += n * r.out_stride


cdef void advance_state(ox_program *program, const ox_run *run, ox_recurrence *r, size_t offset, int32_t begin,
                        int32_t end) noexcept nogil:
    # Tokens [begin, end) of the run, with the snapshots that are wanted of them.
    cdef int32_t i
    for i in range(run.n_marks):
        if begin < run.marks[i].n_tokens <= end:
            advance(program, r, run.marks[i].n_tokens - begin)
            begin = run.marks[i].n_tokens
            memcpy(snapshot_of(program, run.marks[i].snapshot, 0) + offset, r.state,
                   <size_t>r.k_dim * r.v_dim * sizeof(float))
    advance(program, r, end - begin)


cdef void recur_run(ox_program *program, const ox_op *op, const ox_run *run, int32_t head, int32_t lane,
                    float *scratch) noexcept nogil:
    cdef Reads reads
    cdef ox_recurrence r
    cdef size_t offset = state_offset(op, head, lane), n_bytes
    read_buffers(program, op, run, &reads)
    r = recurrence_of(program, op, run, &reads, head, lane)
    n_bytes = <size_t>r.k_dim * r.v_dim * sizeof(float)
    r.out = row_of(program, op.dst[0], run.first_row) + head * op.integers[V_DIM] + lane
    r.out_stride = program.buffers[op.dst[0]].stride
    if run.first_position == 0:
        memset(r.state, 0, n_bytes)
    elif run.restored >= 0:
        memcpy(r.state, snapshot_of(program, run.restored, 0) + offset, n_bytes)
    advance_state(program, run, &r, offset, 0, run.n_tokens - run.n_drafts)
    if run.n_drafts > 0:
        # Drafts are computed on a copy of the state: what becomes of it is decided when they are verified.
        memcpy(scratch, r.state, n_bytes)
        r.state = scratch
        advance(program, &r, run.n_drafts)


cdef void keep_drafts(ox_program *program, const ox_op *op, const ox_run *run, int32_t first,
                      int32_t step) noexcept nogil:
    # Of the drafts every one in `step`, from `first` on: all that they are to add to the state.
    cdef Reads reads, kept
    cdef int32_t i, row = first
    read_buffers(program, op, run, &reads)
    read_kept(program, op, run, &kept)
    while row < run.n_drafts:
        for i in range(num_reads(op)):
            memcpy(kept.rows[i] + row * kept.strides[i],
                   reads.rows[i] + (run.n_tokens - run.n_drafts + row) * reads.strides[i],
                   program.buffers[op.src[i]].width * sizeof(float))
        row += step


cdef void replay_recurrence(ox_program *program, const ox_op *op, const ox_run *run) noexcept nogil:
    cdef Reads reads
    cdef ox_recurrence r
    cdef float out[PIECE_LANES]
    cdef int32_t head, piece, lane, n_known = run.n_tokens - run.n_drafts
    read_kept(program, op, run, &reads)
    for head in range(op.integers[N_HEADS]):
        for piece in range((op.integers[V_DIM] + PIECE_LANES - 1) // PIECE_LANES):
            lane = piece * PIECE_LANES
            r = recurrence_of(program, op, run, &reads, head, lane)
            # What comes out has been used already.
            r.out = out
            r.out_stride = 0
            advance_state(program, run, &r, state_offset(op, head, lane), n_known, n_known + run.n_accepted)


cdef size_t recurrence_scratch(const ox_program *program, const ox_op *op) noexcept nogil:
    return <size_t>op.integers[K_DIM] * min(<int32_t>PIECE_LANES, op.integers[V_DIM]) * sizeof(float)


cdef void linear_recurrence(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                            const ox_member *member) noexcept nogil:
    # dst = the recurrence over src: queries, keys, values, and what the rule wants beside them
    cdef int32_t pieces = (op.integers[V_DIM] + PIECE_LANES - 1) // PIECE_LANES
    cdef int32_t n_of_run = op.integers[N_HEADS] * pieces, item
    cdef const ox_run *run
    cdef ox_share share = share_of(n_of_run * batch.n_runs, program.shared, member)
    while True:
        item = share_take(&share, counter)
        if item < 0:
            return
        run = &batch.runs[item // n_of_run]
        recur_run(program, op, run, item % n_of_run // pieces, item % pieces * PIECE_LANES, <float *>member.scratch)
        keep_drafts(program, op, run, item % n_of_run, n_of_run)


cdef void add_constant(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                       int32_t last) noexcept nogil:
    # dst = src + vectors[0]
    cdef int32_t row, width = program.buffers[op.dst[0]].width
    for row in range(first, last):
        program.kernels.add(width, row_of(program, op.src[0], row), op.vectors[0], row_of(program, op.dst[0], row))


cdef void head_products(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                        int32_t last) noexcept nogil:
    # dst[head] = the sum of src[0] * src[1] over the head's stretch of them, in ascending order
    cdef int32_t row, head, i, n_heads = program.buffers[op.dst[0]].width
    cdef int32_t width = program.buffers[op.src[0]].width // n_heads
    cdef const float *x
    cdef const float *y
    cdef float total
    for row in range(first, last):
        for head in range(n_heads):
            x = row_of(program, op.src[0], row) + head * width
            y = row_of(program, op.src[1], row) + head * width
            total = 0
            for i in range(width):
                total += x[i] * y[i]
            row_of(program, op.dst[0], row)[head] = total


cdef Operation kind = register_work("causal_convolution", "convolution", causal_convolution,
                                    ("state", "n_taps", "kept"), ())
kind.c.replay = replay_convolution
kind = register_work("linear_recurrence", "recurrence", linear_recurrence,
                     ("state", "rule", "n_heads", "n_key_heads", "is_tiled", "k_dim", "v_dim", "has_step", "kept"), ())
kind.c.scratch = recurrence_scratch
kind.c.replay = replay_recurrence
register_rows("add_constant", "add", add_constant, (), ())
register_rows("head_products", "multiply", head_products, (), ())
