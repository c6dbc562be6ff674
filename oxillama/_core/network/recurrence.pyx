"""Operations that carry something of a sequence from token to token: causal convolutions and linear recurrences, and
the row operations that go with them.

A piece of work is some channels, or some lanes of a head, of all tokens of a sequence in the step, in their order. So
no two pieces touch the same part of a state, and no bit depends on how a prompt is cut, on company, or on threads."""

from libc.stdint cimport int32_t
from libc.string cimport memcpy, memmove, memset

from oxillama._core.network.executor cimport (
    ox_batch,
    ox_buffer,
    ox_member,
    ox_op,
    ox_program,
    ox_run,
    row_of,
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
from oxillama._core.network.operations cimport register_rows, register_work
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


cdef void convolve_run(ox_program *program, const ox_op *op, const ox_run *run, int32_t first,
                       int32_t n) noexcept nogil:
    # Channels [first, first + n) of all tokens of a run. The state is the last n_taps - 1 inputs, the oldest first.
    cdef ox_buffer *x = &program.buffers[op.src[0]]
    cdef int32_t n_taps = op.integers[1], n_kept = n_taps - 1, row, tap, position
    cdef float *state = state_of(program, run, op.integers[0]) + first
    cdef const float *inputs[MOST_TAPS]
    for tap in range(n_kept if run.first_position == 0 else 0):
        memset(state + tap * x.width, 0, n * sizeof(float))
    for row in range(run.n_tokens):
        for tap in range(n_taps):
            position = row + tap - n_kept
            if position < 0:
                inputs[tap] = state + (position + n_kept) * x.width
            else:
                inputs[tap] = row_of(program, op.src[0], run.first_row + position) + first
        program.kernels.convolve(n, n_taps, inputs, op.vectors[0] + first, x.width,
                                 op.vectors[1] + first if op.vectors[1] != NULL else NULL,
                                 row_of(program, op.dst[0], run.first_row + row) + first)
    for tap in range(n_kept):
        position = run.n_tokens + tap - n_kept
        if position < 0:
            memmove(state + tap * x.width, state + (tap + run.n_tokens) * x.width, n * sizeof(float))
        else:
            memcpy(state + tap * x.width, row_of(program, op.src[0], run.first_row + position) + first,
                   n * sizeof(float))


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


cdef inline ox_row_series rows_from(const ox_program *program, int32_t buffer, const ox_run *run,
                                    int32_t column) noexcept nogil:
    cdef ox_row_series series
    series.data = row_of(program, buffer, run.first_row) + column
    series.stride = program.buffers[buffer].stride
    return series


cdef void recur_run(ox_program *program, const ox_op *op, const ox_run *run, int32_t head, int32_t lane) noexcept nogil:
    cdef ox_recurrence r
    cdef int32_t n_heads = op.integers[N_HEADS], n_key_heads = op.integers[N_KEY_HEADS]
    cdef int32_t k_dim = op.integers[K_DIM], v_dim = op.integers[V_DIM], next_read = 3
    cdef int32_t key_head = head % n_key_heads if op.integers[IS_TILED] else head // (n_heads // n_key_heads)
    memset(&r, 0, sizeof(r))
    r.rule = <ox_rule>op.integers[RULE]
    r.n_tokens = run.n_tokens
    r.k_dim = k_dim
    r.v_dim = min(<int32_t>PIECE_LANES, v_dim - lane)
    # A piece lies together: with whole rows of a head between its own, half of the first-level cache would be idle.
    r.state = state_of(program, run, op.integers[STATE]) + <size_t>k_dim * (head * v_dim + lane)
    r.state_stride = r.v_dim
    r.q = rows_from(program, op.src[0], run, key_head * k_dim)
    r.k = rows_from(program, op.src[1], run, key_head * k_dim)
    r.v = rows_from(program, op.src[2], run, head * v_dim + lane)
    if r.rule == OX_RULE_SCAN:
        r.rates = op.vectors[0] + lane
        r.rate_stride = v_dim
    else:
        # one factor for each head, or one for each of its keys
        r.decay_by_key = program.buffers[op.src[3]].width != n_heads
        r.decay = rows_from(program, op.src[3], run, head * (k_dim if r.decay_by_key else 1))
        next_read += 1
    if r.rule == OX_RULE_BONUS:
        r.bonus = op.vectors[0] + head * k_dim
    elif r.rule == OX_RULE_PAIRED:
        r.a = rows_from(program, op.src[4], run, head * k_dim)
        r.b = rows_from(program, op.src[5], run, head * k_dim)
    elif op.integers[HAS_STEP]:
        r.step = rows_from(program, op.src[next_read], run, lane if r.rule == OX_RULE_SCAN else head)
    r.out = row_of(program, op.dst[0], run.first_row) + head * v_dim + lane
    r.out_stride = program.buffers[op.dst[0]].stride
    if run.first_position == 0:
        memset(r.state, 0, <size_t>k_dim * r.v_dim * sizeof(float))
    program.kernels.recur(&r)


cdef void linear_recurrence(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                            const ox_member *member) noexcept nogil:
    # dst = the recurrence over src: queries, keys, values, and what the rule wants beside them
    cdef int32_t pieces = (op.integers[V_DIM] + PIECE_LANES - 1) // PIECE_LANES
    cdef int32_t n_of_run = op.integers[N_HEADS] * pieces, item
    cdef ox_share share = share_of(n_of_run * batch.n_runs, program.shared, member)
    while True:
        item = share_take(&share, counter)
        if item < 0:
            return
        recur_run(program, op, &batch.runs[item // n_of_run], item % n_of_run // pieces, item % pieces * PIECE_LANES)


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


register_work("causal_convolution", "convolution", causal_convolution, ("state", "n_taps"), ())
register_work("linear_recurrence", "recurrence", linear_recurrence,
              ("state", "rule", "n_heads", "n_key_heads", "is_tiled", "k_dim", "v_dim", "has_step"), ())
register_rows("add_constant", "add", add_constant, (), ())
register_rows("head_products", "multiply", head_products, (), ())
