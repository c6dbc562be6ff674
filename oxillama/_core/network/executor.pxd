"""A network as a flat array of operations, the batch of rows that one step runs it over, and the walk itself."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from oxillama._core.atomics cimport ox_atomic_i32, ox_atomic_ptr
from oxillama._core.network.adapter cimport ox_adapter_room, ox_adapter_set
from oxillama._core.network.kernels cimport ox_activations, ox_kernels, ox_matrix
from oxillama._core.scheduling.kv_cache cimport ox_kv_store
from oxillama._core.memory cimport ox_pages
from oxillama._core.scheduling.profile cimport ox_profile
from oxillama._core.scheduling.snapshots cimport ox_mark
from oxillama._core.network.team cimport ox_team

cdef extern from "threads.h" nogil:
    uint64_t ox_default_fp_mode() noexcept
    void ox_restore_fp_mode(uint64_t mode) noexcept

cdef struct ox_op
cdef struct ox_program
cdef struct ox_batch
cdef struct ox_run

cdef enum ox_row_space:
    OX_ROWS_TOKENS = 0     # every row of the batch
    OX_ROWS_OUTPUTS = 1    # the rows that leave the network
    OX_ROWS_LOGITS = 2     # the first of these: the rows whose logits are wanted

cdef enum:
    OX_MAX_READS = 6
    OX_MAX_WRITES = 3
    OX_MAX_VECTORS = 4
    OX_MAX_INTEGERS = 9
    OX_MAX_FLOATS = 4

# One thread's place in the team of a step.
ctypedef struct ox_member:
    int32_t index
    int32_t size
    uint8_t *scratch       # of its own, as much as the neediest operation asked for
    ox_profile *profile    # of the one member that is timed, else NULL

# Rows [first, last) of an operation that works on each row alone: a thread has the same rows in every operation of a
# phase, so it may go from one to the next without waiting for the others.
ctypedef void (*ox_rows_function)(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first,
                                  int32_t last) noexcept nogil
# Everything else: called by every member, which takes its share of the work. `counter` is zero when the step begins.
ctypedef void (*ox_work_function)(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter,
                                  int32_t n_rows, const ox_member *member) noexcept nogil

# What a state takes in of drafts that were accepted, from the inputs that were kept of them. Touches one run's state.
ctypedef void (*ox_replay_function)(ox_program *program, const ox_op *op, const ox_run *run) noexcept nogil

# What adapters need of a work operation's rows before it is called: see adapter_products.pxd. Called by every member.
ctypedef void (*ox_shrink_function)(ox_program *program, const ox_op *op, ox_batch *batch, int32_t n_rows,
                                    const ox_member *member) noexcept nogil

# The kind of an operation: a row of the table in operations.pyx.
ctypedef struct ox_operation:
    ox_rows_function rows  # one of the two, the other is NULL
    ox_work_function work
    size_t (*scratch)(const ox_program *program, const ox_op *op) noexcept nogil  # bytes per member, or NULL
    void (*prepare)(ox_program *program, const ox_op *op) noexcept nogil          # once, when all are known; or NULL
    ox_replay_function replay  # of an operation with a state, else NULL
    ox_shrink_function shrink  # or NULL

cdef struct ox_op:
    const ox_operation *operation
    ox_row_space space
    int32_t fold           # rows of the operation for each row of its space
    bint barrier           # the team meets before this operation
    bint checkpoint        # a step without living requests may be abandoned here
    int32_t n_mats
    int32_t site           # its number among the operations with matrices, by which adapters know it; else -1
    int32_t src[OX_MAX_READS]               # buffer numbers
    int32_t dst[OX_MAX_WRITES]              # the same; of an operation without a result, its first source
    ox_matrix *mats                         # [n_mats]
    const float *vectors[OX_MAX_VECTORS]    # constants of the file or of the description, or NULL
    int32_t integers[OX_MAX_INTEGERS]       # what they mean is said where the operation is registered
    float floats[OX_MAX_FLOATS]

ctypedef struct ox_buffer:
    int32_t width          # floats used in a row
    size_t stride          # floats from row to row, a multiple of 16
    float *data
    ox_activations acts    # values == data; the twin, in the forms that products read

# Consecutive tokens of one sequence.
cdef struct ox_run:
    int32_t first_row      # of the batch
    int32_t n_tokens
    int32_t first_position
    int32_t slot           # of the sequence, for as long as it runs: where its states lie
    int32_t restored       # snapshot that the states begin with, -1: what lies in the slot; zeros at position 0
    int32_t n_drafts       # of the tokens, the last: the states stay before them, and their inputs are kept
    int32_t first_kept     # rows of program.kept where these lie
    int32_t n_accepted     # of them: what replay() adds to the states
    int32_t n_marks
    const ox_mark *marks   # [n_marks], in the order of tokens
    int32_t second_start   # position of the second of two texts, beyond its end where there is one text
    int32_t first_item     # set by the executor: attention work items before this run, for each KV head,
    int32_t n_ranges       # ranges of keys that its items are divided into,
    int32_t first_part     # and where the partial results of these lie
    const int32_t *blocks  # KV block of positions [32 i, 32 i + 32)
    const int32_t *window_blocks    # the same of windowed stores, as far back as they are seen
    const ox_adapter_set *adapters  # what is applied to the sequence, or NULL

# abandon(context) is asked by one thread at every checkpoint; nonzero ends the step without results.
ctypedef bint (*ox_abandon)(void *context) noexcept nogil

cdef struct ox_batch:
    int32_t n_tokens, n_outputs, n_logits, n_runs
    const int32_t *tokens       # [n_tokens], each in [0, n_vocab)
    const int32_t *output_rows  # [n_outputs], rows of the batch; the first n_logits become logits
    ox_run *runs                # [n_runs], in row order, covering all rows
    ox_abandon abandon          # or NULL
    void *context
    int32_t n_sets              # set by the executor: different sets of adapters of the runs; the rest only if any
    const ox_adapter_set **sets  # [n_sets]
    int32_t adapted_width       # the widest
    ox_adapter_room *room

cdef struct ox_program:
    const ox_kernels *kernels
    int32_t n_ops, n_buffers
    ox_op *ops
    ox_buffer *buffers
    int32_t *counters           # [n_ops]: work items taken from the shared tail
    int32_t *row_runs           # [max_tokens]: run of each row, set for each step
    int32_t logits              # buffer numbers of what leaves the network, -1 of what does not: the logits, by output
    int32_t hidden              # what embeddings are made of: the last hidden state, by output
    int32_t scores              # of a classifier, in the same rows as logits
    bint whole                  # the prompt of a sequence is computed in one step: attention looks ahead
    int32_t max_tokens, max_outputs
    ox_kv_store *kv_stores      # [n_stores]
    int32_t most_kv_heads, fewest_kv_heads  # of the stores that are attended
    float *states               # [n_slots + n_snapshots][state_floats]: recurrent states, zero where a sequence begins
    size_t state_floats
    int32_t n_slots, n_snapshots
    float *kept                 # [max_outputs][kept_floats]: what states have not taken in of drafts yet
    size_t kept_floats
    int32_t *replayed           # [n_replayed]: the operations that have a state
    int32_t n_replayed
    int n_threads               # places in the scratch: the team's, and those of a team that has been closed
    ox_team *team               # of the owner of the program
    ox_team *step_team          # who does the step: the team, or NULL for the caller alone
    uint8_t *scratch            # [n_threads][scratch_bytes]
    size_t scratch_bytes
    int32_t *routes             # of the mixture of experts that runs; see experts.pyx
    size_t routes_size
    float *parts                # [max_parts][part_floats]: attention of single ranges of keys
    int32_t *parts_done         # [max_parts]: ranges that have ended, at the first part of each head
    int32_t max_parts
    size_t part_floats
    int32_t n_attention_items   # of the step, for each KV head
    int32_t shared              # one part in this many of the weight groups goes to whoever comes first
    int32_t n_barriers          # of a step
    int64_t row_products        # multiply-adds of all matrices for one row that becomes logits
    int64_t alone_until_ns      # until then small steps are run by the caller alone; 0: they are not
    int32_t n_sites             # operations with matrices
    int32_t site_rows           # most rows of one of them
    const ox_adapter_set **sets         # [max_tokens], room for a batch's
    const ox_adapter_set **token_sets   # [max_tokens]: what each row has, set for steps with adapters
    const ox_adapter_set **output_sets  # [max_tokens or max_outputs]: the same of output rows
    ox_atomic_ptr adapter_room  # ox_adapter_room *, or NULL before there was a set
    ox_pages *weights           # the memory of all matrices, or NULL where there are none
    ox_atomic_i32 stop_at       # operation at which the step was abandoned, or -1
    ox_atomic_ptr profile       # ox_profile *: where the steps are timed, or NULL

cdef enum:
    OX_STEP_DONE = 0
    OX_STEP_ABANDONED = 1

# Where a store has the blocks of a run.
cdef inline const int32_t *blocks_of(const ox_run *run, const ox_kv_store *store) noexcept nogil:
    return run.window_blocks if store.is_windowed else run.blocks

# Row `row` of a buffer.
cdef inline float *row_of(const ox_program *program, int32_t buffer, int32_t row) noexcept nogil:
    return program.buffers[buffer].data + row * program.buffers[buffer].stride

# The absolute position of a row of tokens.
cdef inline int32_t position_of(const ox_program *program, const ox_batch *batch, int32_t row) noexcept nogil:
    cdef const ox_run *run = &batch.runs[program.row_runs[row]]
    return run.first_position + row - run.first_row

# The state of a run's sequence, `offset` floats into it, and the same of a snapshot.
cdef inline float *state_of(const ox_program *program, const ox_run *run, int32_t offset) noexcept nogil:
    return program.states + run.slot * program.state_floats + offset

cdef inline float *snapshot_of(const ox_program *program, int32_t snapshot, int32_t offset) noexcept nogil:
    return program.states + (program.n_slots + snapshot) * program.state_floats + offset

# What was kept of the drafts of a run, `offset` floats into the row of the first.
cdef inline float *kept_of(const ox_program *program, const ox_run *run, int32_t offset) noexcept nogil:
    return program.kept + run.first_kept * program.kept_floats + offset

# Runs one step; returns OX_STEP_DONE or OX_STEP_ABANDONED. One caller at a time. It decides who does the step: what the
# caller adds to it goes to program.step_team.
cdef int execute(ox_program *program, ox_batch *batch) noexcept nogil
# After a step that is done: the states of its runs take in the drafts that were accepted, as if they had been known.
cdef void replay(ox_program *program, ox_batch *batch) noexcept nogil
