"""The owner of a lowered network: allocates its buffers, receives its operations, and runs steps.

Built once at load by `oxillama.network.lowering`; the operations point into memory that this object keeps alive."""

cimport cython
from libc.stddef cimport size_t
from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint8_t, uint16_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import numpy as np

from oxillama._core.atomics cimport ox_store_release_ptr
from oxillama._core.network.adapter cimport OX_SITE_MATRICES, AdapterSet, ox_adapter_set
from oxillama._core.network.adapter_products cimport adapter_scratch
from oxillama._core.network.attention_items cimport attention_max_parts
from oxillama._core.network.executor cimport (
    OX_MAX_READS,
    OX_MAX_VECTORS,
    OX_MAX_WRITES,
    execute,
    ox_buffer,
    ox_row_space,
    ox_run,
)
from oxillama._core.network.kernels cimport (
    OX_ACT_BLOCK,
    OX_ALIGN,
    OX_FORM_BF16,
    OX_FORM_INT8,
    OX_FORM_INT8_32,
    OX_KV_BLOCK,
    active_kernels,
    ox_act_block,
    ox_activations,
    ox_matrix,
)
from oxillama._core.network.operations cimport Operation, operation_named

# Imported so that their operations are registered.
from oxillama._core.network import attention_items, experts, heads, products, recurrence, relative_attention, row_operations, streams  # no-cython-lint


# The form of which `rest` says what it leaves over.
REST_FORM = OX_FORM_INT8


cdef size_t aligned(size_t n_bytes) noexcept nogil:
    return (n_bytes + OX_ALIGN - 1) // OX_ALIGN * OX_ALIGN


cdef Py_ssize_t padded(Py_ssize_t width, Py_ssize_t unit) noexcept nogil:
    return (width + unit - 1) // unit * unit


cdef Py_ssize_t row_floats(Py_ssize_t width) noexcept nogil:
    # A line more than the values need: rows a power of two apart share a few sets of the first-level cache, which
    # costs the float products half of their speed from seven tokens on.
    return padded(width, 16) + 16


def buffer_bytes(Py_ssize_t width, Py_ssize_t rows):
    """Bytes of a buffer of `rows` rows of `width` float32 values."""
    return rows * row_floats(width) * sizeof(float)


cdef Py_ssize_t int8_bytes(Py_ssize_t width, Py_ssize_t rows) noexcept nogil:
    return rows * (padded(width, OX_ACT_BLOCK) // OX_ACT_BLOCK) * sizeof(ox_act_block)


def twin_bytes(Py_ssize_t width, Py_ssize_t rows, int forms):
    """Bytes of the twin of such a buffer: the activations in these forms (bits), one after another."""
    cdef Py_ssize_t n_int8 = bool(forms & OX_FORM_INT8) + bool(forms & OX_FORM_INT8_32)
    cdef Py_ssize_t bf16 = rows * padded(width, OX_ACT_BLOCK) * sizeof(uint16_t)
    return n_int8 * int8_bytes(width, rows) + bool(forms & OX_FORM_BF16) * bf16


def activation_form(int type_id):
    """The form of activations that products with this ggml type read under the active kernels: 0, or a bit."""
    return active_kernels().activation_form(type_id)


def reads_quants(int type_id):
    """Do products with this ggml type read int8 activations under the active kernels?"""
    return active_kernels().activation_form(type_id) in (OX_FORM_INT8, OX_FORM_INT8_32)


cdef class Program:
    """A network ready to run.

    buffers: (width, rows, offset, forms, twin_offset) of each buffer, offsets in bytes into an arena of `arena_bytes`;
    forms: those besides float32 in which products read it, as bits. n_ops: most operations to be appended.
    max_tokens, max_outputs: tokens, and rows of logits, of the largest batch. n_threads: of the team that is made for
    it, a ModelLoadError if the system refuses. logits, hidden, scores: numbers of the buffers of what leaves the
    network, -1 where it has none; see ox_program. whole: attention looks ahead. state_floats, n_slots, n_snapshots:
    recurrent state of a sequence, how many sequences have one at a time, and how many are kept besides. kept_floats:
    what is kept of a draft until it is accepted or refused. team: of another program, in turn with which it runs."""

    def __init__(self, list buffers, *, size_t arena_bytes, int n_ops, KVCache kv not None, int max_tokens,
                 int max_outputs, int n_threads, int n_vocab, int logits=-1, int hidden=-1, int scores=-1,
                 bint whole=False, Py_ssize_t state_floats=0, int n_slots=0, int n_snapshots=0,
                 Py_ssize_t kept_floats=0, Team team=None):
        cdef Py_ssize_t width, rows, offset, twin_offset
        cdef int i, forms
        self.kv = kv
        self.n_vocab = n_vocab
        self._kept = []
        self._operations = []
        self._arena = Pages(arena_bytes)
        self.c.kernels = active_kernels()
        self.c.n_buffers = <int32_t>len(buffers)
        self.c.buffers = <ox_buffer *>calloc(max(len(buffers), 1), sizeof(ox_buffer))
        self.c.ops = <ox_op *>calloc(max(n_ops, 1), sizeof(ox_op))
        self.c.counters = <int32_t *>calloc(max(n_ops, 1), sizeof(int32_t))
        self.c.row_runs = <int32_t *>calloc(max_tokens, sizeof(int32_t))
        self.c.sets = <const ox_adapter_set **>calloc(max_tokens, sizeof(ox_adapter_set *))
        self.c.token_sets = <const ox_adapter_set **>calloc(max_tokens, sizeof(ox_adapter_set *))
        self.c.output_sets = <const ox_adapter_set **>calloc(max(max_tokens, max_outputs), sizeof(ox_adapter_set *))
        self._rooms = AdapterRooms()
        if not (self.c.buffers and self.c.ops and self.c.counters and self.c.row_runs and self.c.sets
                and self.c.token_sets and self.c.output_sets):
            raise MemoryError("no memory for the program")
        for i, (width, rows, offset, forms, twin_offset) in enumerate(buffers):
            if (offset < 0 or offset + buffer_bytes(width, rows) > <Py_ssize_t>arena_bytes
                    or twin_offset < 0 or twin_offset + twin_bytes(width, rows, forms) > <Py_ssize_t>arena_bytes):
                raise ValueError(f"buffer {i} lies outside the arena")
            place_buffer(&self.c.buffers[i], width, rows, self._arena.c.data + offset)
            place_twin(&self.c.buffers[i].acts, forms, self._arena.c.data + twin_offset)
        self.c.logits = logits
        self.c.hidden = hidden
        self.c.scores = scores
        self.c.whole = whole
        self.c.max_tokens = max_tokens
        self.c.max_outputs = max_outputs
        self.c.kv_stores = kv.stores
        self.c.state_floats = padded(state_floats, 16)
        self.c.n_slots = n_slots
        self.c.n_snapshots = n_snapshots if state_floats else 0
        self._states = Pages(self.c.state_floats * sizeof(float) * (n_slots + self.c.n_snapshots))
        self.c.states = <float *>self._states.c.data
        self.c.kept_floats = kept_floats
        self._kept_rows = Pages(kept_floats * sizeof(float) * max_outputs)
        self.c.kept = <float *>self._kept_rows.c.data
        self.team = Team(n_threads) if team is None else team
        self.c.team = self.team.c
        self.c.n_threads = n_threads
        self._sealed = False
        # n_ops is the capacity until seal().
        self.c.n_ops = 0
        self._capacity = n_ops

    def __dealloc__(self):
        cdef int32_t i
        for i in range(self.c.n_ops if self.c.ops != NULL else 0):
            free(self.c.ops[i].mats)
        free(self.c.buffers)
        free(self.c.ops)
        free(self.c.counters)
        free(self.c.row_runs)
        free(self.c.sets)
        free(self.c.token_sets)
        free(self.c.output_sets)
        free(self.c.parts_done)
        free(self.c.routes)
        free(self.c.replayed)

    cdef int _keep(self, PackedMatrix matrix) except -1:
        # The worker looks after one stretch of memory.
        if self.weights is not None and self.weights is not matrix._pages:
            raise ValueError("the matrices of a program must come from one packer")
        self._kept.append(matrix)
        self.weights = matrix._pages
        self.c.weights = &self.weights.c
        return 0

    cdef const float *_vector(self, const float[::1] values) except? NULL:
        if values is None:
            return NULL
        self._kept.append(values)
        return &values[0]

    def append(self, str name, list src, list dst, *, matrices=(), vectors=(), int space=0, int fold=1,
               bint barrier=True, **parameters):
        """One operation more.

        name: a kind that has been registered; src, dst: buffer numbers. matrices: PackedMatrix objects; vectors:
        float32 arrays or None. space, fold: the rows it has, `fold` for each of the space. parameters: those that the
        kind names; what is left out is zero."""
        cdef Operation row = operation_named(name)
        cdef ox_op *op
        cdef PackedMatrix matrix
        cdef int i
        unknown = set(parameters).difference(row.integers, row.floats)
        if unknown:
            raise TypeError(f"operation {name!r} has no parameter {min(unknown)!r}")
        if len(src) > OX_MAX_READS or len(dst) > OX_MAX_WRITES or len(vectors) > OX_MAX_VECTORS:
            raise ValueError(f"operation {name!r} reads {len(src)} buffers and writes {len(dst)} with {len(vectors)} "
                             f"vectors, expected at most {OX_MAX_READS}, {OX_MAX_WRITES} and {OX_MAX_VECTORS}")
        if self._sealed or self.c.n_ops == self._capacity:
            raise ValueError("the program takes no more operations")
        op = &self.c.ops[self.c.n_ops]
        self.c.n_ops += 1
        self._operations.append(row)
        op.operation = &row.c
        op.space = <ox_row_space>space
        op.fold = fold
        op.barrier = barrier
        for i, number in enumerate(src):
            op.src[i] = number
        for i, number in enumerate(dst or src[:1]):
            op.dst[i] = number
        for i, values in enumerate(vectors):
            op.vectors[i] = self._vector(values)
        for i, parameter in enumerate(row.integers):
            op.integers[i] = parameters.get(parameter, 0)
        for i, parameter in enumerate(row.floats):
            op.floats[i] = parameters.get(parameter, 0.0)
        op.mats = <ox_matrix *>calloc(max(len(matrices), 1), sizeof(ox_matrix))
        if op.mats == NULL:
            raise MemoryError("no memory for the program")
        op.n_mats = <int32_t>len(matrices)
        op.site = -1
        if matrices:
            if len(matrices) > OX_SITE_MATRICES:
                raise ValueError(f"operation {name!r} has {len(matrices)} matrices, expected {OX_SITE_MATRICES}")
            op.site = self.c.n_sites
            self.c.n_sites += 1
            self.c.site_rows = max(self.c.site_rows, self.c.max_tokens if row.c.rows != NULL
                                   else self.c.buffers[op.src[0]].acts.max_rows)
        for i, matrix in enumerate(matrices):
            op.mats[i] = matrix.desc
            self._keep(matrix)

    def checkpoint(self):
        """Marks the last operation, which must begin a phase, as a place to abandon the step."""
        if self.c.n_ops == 0 or not self.c.ops[self.c.n_ops - 1].barrier:
            raise ValueError("a checkpoint needs an operation with a barrier")
        self.c.ops[self.c.n_ops - 1].checkpoint = True

    def seal(self):
        """Ends the building: allocates the threads' scratch. Must be called once, before the first step."""
        cdef int32_t i
        cdef const ox_op *op
        for i in range(self.c.n_ops):
            op = &self.c.ops[i]
            if op.operation.prepare != NULL:
                op.operation.prepare(&self.c, op)
            if op.operation.scratch != NULL:
                self.c.scratch_bytes = max(self.c.scratch_bytes, aligned(op.operation.scratch(&self.c, op)))
        if self.c.n_sites:
            self.c.scratch_bytes = max(self.c.scratch_bytes, aligned(adapter_scratch(&self.c)))
        self.c.routes = <int32_t *>calloc(max(self.c.routes_size, <size_t>1), sizeof(int32_t))
        self.c.replayed = <int32_t *>calloc(max(self.c.n_ops, 1), sizeof(int32_t))
        if self.c.routes == NULL or self.c.replayed == NULL:
            raise MemoryError("no memory for the program")
        for i in range(self.c.n_ops):
            if self.c.ops[i].operation.replay != NULL:
                self.c.replayed[self.c.n_replayed] = i
                self.c.n_replayed += 1
        self._scratch = Pages(self.c.scratch_bytes * self.c.n_threads)
        self.c.scratch = self._scratch.c.data
        self._seal_parts()
        self._count_work()
        self._sealed = True

    cdef void _count_work(self) noexcept:
        cdef int32_t i, m
        cdef ox_op *op
        for i in range(self.c.n_ops):
            op = &self.c.ops[i]
            self.c.n_barriers += op.barrier
            for m in range(op.n_mats if op.operation.work != NULL else 0):
                self.c.row_products += <int64_t>op.mats[m].rows * op.mats[m].k

    cdef int _seal_parts(self) except -1:
        if self.c.part_floats == 0 or self.c.n_threads == 1:
            return 0
        self.c.max_parts = attention_max_parts(self.kv.n_blocks, self.c.most_kv_heads, self.c.n_threads)
        self._parts = Pages(self.c.max_parts * self.c.part_floats * sizeof(float))
        self.c.parts = <float *>self._parts.c.data
        self.c.parts_done = <int32_t *>calloc(self.c.max_parts, sizeof(int32_t))
        if self.c.parts_done == NULL:
            raise MemoryError("no memory for the program")
        return 0

    def adapter_room_bytes(self, Py_ssize_t width):
        """Bytes that `make_adapter_room` would take for sets of that width; 0 if there is room already."""
        return self._rooms.needed(self.c.site_rows * width)

    def make_adapter_room(self, Py_ssize_t width):
        """Makes room for steps whose rows have sets of up to that width, which must be there before such a set is.

        From any thread; the steps that run see the new room or the old one. Returns it, or None if there was room
        already. Raises MemoryError."""
        return self._rooms.make(&self.c.adapter_room, self.c.site_rows * width)

    @property
    def n_sites(self):
        """Operations with matrices, which adapters may add to."""
        return self.c.n_sites

    def operations(self):
        cdef int32_t i, m
        cdef ox_op *op
        cdef Operation row
        described = []
        for i in range(self.c.n_ops):
            op = &self.c.ops[i]
            row = self._operations[i]
            n_products = op.n_mats if op.operation.work != NULL else 0
            described.append((row.label, [(op.mats[m].type, op.mats[m].rows, op.mats[m].k) for m in range(n_products)]))
        return described

    @cython.critical_section
    def start_profile(self):
        if self._profile is None:
            self._profile = Profile(self.c.n_ops)
        ox_store_release_ptr(&self.c.profile, &self._profile.c)
        return self._profile

    def stop_profile(self):
        ox_store_release_ptr(&self.c.profile, NULL)

    @property
    def n_ops(self):
        return self.c.n_ops

    @property
    def n_bytes(self):
        """Bytes of buffers and scratch."""
        return sum(pages.size for pages in self._own_pages() if pages is not None)

    @property
    def has_state(self):
        """Does a sequence keep more than keys and values from token to token?"""
        return self.c.state_floats > 0

    @property
    def state_bytes(self):
        """Bytes of the recurrent state of a sequence."""
        return self.c.state_floats * sizeof(float)

    @property
    def n_snapshots(self):
        """How many states are kept beside those of running sequences, at most."""
        return self.c.n_snapshots

    @property
    def n_resident(self):
        """Bytes of weights, buffers, scratch and cache that are in memory now."""
        all_pages = (self.weights, *self._own_pages())
        return self.kv.n_resident + sum(pages.n_resident for pages in all_pages if pages is not None)

    def _own_pages(self):
        return self._arena, self._scratch, self._parts, self._states, self._kept_rows

    @property
    def hidden_width(self):
        """Values in a row of the last hidden state; 0 where it cannot be read."""
        return self.c.buffers[self.c.hidden].width if self.c.hidden >= 0 else 0

    @property
    def has_logits(self):
        return self.c.logits >= 0

    @property
    def n_scores(self):
        """Values that the classifier gives; 0 where there is none."""
        return self.c.buffers[self.c.scores].width if self.c.scores >= 0 else 0

    @property
    def whole(self):
        """Is the prompt of a sequence computed in one step or not at all?"""
        return bool(self.c.whole)

    @property
    def n_threads(self):
        return self.c.n_threads

    @property
    def max_tokens(self):
        return self.c.max_tokens

    @property
    def max_outputs(self):
        return self.c.max_outputs

    cdef int run(self, ox_batch *batch) noexcept nogil:
        return execute(&self.c, batch)

    cdef const float *logits(self, int32_t i) noexcept nogil:
        return self.c.buffers[self.c.logits].data + i * self.c.buffers[self.c.logits].stride

    def forward(self, const int32_t[::1] tokens, list runs, const int32_t[::1] output_rows, list adapters=None):
        """One step, for tests and evaluation.

        tokens: int32 [n]. runs: (n_tokens, first_position, block table int32 [...]) of each sequence, in row order, and
        its slot where it has a state. adapters: an AdapterSet or None for each of them.
        output_rows: int32 [m], rows of the batch. Returns float32 [m, n_vocab]."""
        cdef ox_batch batch
        cdef ox_run c_runs[256]
        cdef const int32_t[::1] blocks
        cdef AdapterSet applied
        cdef int32_t i, n = 0
        if not self._sealed:
            raise ValueError("the program is not sealed")
        if not self.has_logits:
            raise ValueError("the network has no logits")
        fits = 0 < tokens.shape[0] <= self.c.max_tokens and output_rows.shape[0] <= self.c.max_outputs
        if not fits or len(runs) > 256:
            raise ValueError(
                f"{tokens.shape[0]} tokens, {output_rows.shape[0]} outputs and {len(runs)} runs do not fit: "
                f"at most {self.c.max_tokens}, {self.c.max_outputs} and 256"
            )
        for i in range(tokens.shape[0]):
            if not 0 <= tokens[i] < self.n_vocab:
                raise ValueError(f"token {tokens[i]} is not in the vocabulary of {self.n_vocab}")
        for i in range(output_rows.shape[0]):
            if not 0 <= output_rows[i] < tokens.shape[0]:
                raise ValueError(f"output row {output_rows[i]} is not a row of a batch of {tokens.shape[0]}")
        tables = []
        memset(c_runs, 0, sizeof(c_runs))
        for i, (n_tokens, first_position, table, *slot) in enumerate(runs):
            blocks = table
            tables.append(table)
            if n_tokens < 1 or first_position < 0:
                raise ValueError(f"run {i} has {n_tokens} tokens from position {first_position}")
            if blocks.shape[0] * OX_KV_BLOCK < first_position + n_tokens:
                raise ValueError(f"run {i} ends at position {first_position + n_tokens}, "
                                 f"its {blocks.shape[0]} blocks hold {blocks.shape[0] * OX_KV_BLOCK}")
            if min(table) < 0 or max(table) >= self.kv.n_blocks:
                raise ValueError(f"run {i} names a block outside of the {self.kv.n_blocks} that exist")
            # Here nobody gives anything back, so the same numbers serve both arenas.
            if self.kv.n_window_blocks and max(table) >= self.kv.n_window_blocks:
                raise ValueError(f"run {i} names a block outside of the {self.kv.n_window_blocks} of windowed stores")
            c_runs[i].first_row = n
            c_runs[i].n_tokens = n_tokens
            c_runs[i].first_position = first_position
            c_runs[i].blocks = c_runs[i].window_blocks = &blocks[0]
            c_runs[i].slot = slot[0] if slot else i
            c_runs[i].restored = -1
            c_runs[i].second_start = INT32_MAX
            applied = adapters[i] if adapters is not None else None
            c_runs[i].adapters = &applied.c if applied is not None else NULL
            if applied is not None:
                self.make_adapter_room(applied.width)
            n += n_tokens
        if n != tokens.shape[0]:
            raise ValueError(f"the runs cover {n} of {tokens.shape[0]} tokens")
        batch.n_tokens = n
        batch.n_outputs = batch.n_logits = <int32_t>output_rows.shape[0]
        batch.n_runs = <int32_t>len(runs)
        batch.tokens = &tokens[0]
        batch.output_rows = &output_rows[0] if output_rows.shape[0] else NULL
        batch.runs = c_runs
        batch.abandon = NULL
        batch.context = NULL
        self.c.alone_until_ns = 0  # so that tests see the team at work, however busy the machine is
        self.team.here()
        with nogil:
            self.run(&batch)
        out = np.empty((batch.n_outputs, self.n_vocab), dtype=np.float32)
        cdef float[:, ::1] view = out
        for i in range(batch.n_outputs):
            memcpy(&view[i, 0], self.logits(i), self.n_vocab * sizeof(float))
        return out


cdef void place_buffer(ox_buffer *buffer, Py_ssize_t width, Py_ssize_t rows, uint8_t *data) noexcept:
    buffer.width = <int32_t>width
    buffer.stride = row_floats(width)
    buffer.data = <float *>data
    buffer.acts.k = <int32_t>width
    buffer.acts.max_rows = <int32_t>rows
    buffer.acts.values = buffer.data
    buffer.acts.value_stride = buffer.stride


cdef void place_twin(ox_activations *acts, int32_t forms, uint8_t *twin) noexcept:
    acts.forms = forms
    if forms & OX_FORM_INT8:
        acts.blocks = <ox_act_block *>twin
        twin += int8_bytes(acts.k, acts.max_rows)
    if forms & OX_FORM_INT8_32:
        acts.blocks32 = <ox_act_block *>twin
        twin += int8_bytes(acts.k, acts.max_rows)
    if forms & OX_FORM_BF16:
        acts.rounded = <uint16_t *>twin
