"""The work of attention as items that any thread may take: pieces of runs, KV heads, ranges of keys."""

from libc.stdint cimport int32_t, uint8_t

from oxillama._core.executor cimport ox_batch, ox_op, ox_program

# Parts that the program needs room for: ranges and heads of the sequences that are divided in one step.
cdef int32_t attention_max_parts(int32_t n_kv_blocks, int32_t n_head_kv, int n_threads) noexcept nogil

# Once per step, by one thread: sets the runs' item numbers and how each is divided. Returns the number of items.
cdef int32_t plan_attention(ox_program *program, ox_batch *batch) noexcept nogil

# By every thread: takes items of an operation, counted by `counter`, until there are none.
cdef void attend(ox_program *program, ox_op *op, int32_t *counter, ox_batch *batch, int32_t n_items,
                 uint8_t *scratch) noexcept nogil
