"""The work of attention as items that any thread may take: pieces of runs, KV heads, ranges of keys."""

from libc.stdint cimport int32_t

from oxillama._core.network.executor cimport ox_batch, ox_program

# Parts that the program needs room for: ranges and heads of the sequences that are divided in one step.
cdef int32_t attention_max_parts(int32_t n_kv_blocks, int32_t n_head_kv, int n_threads) noexcept nogil

# Once per step, by one thread: sets the runs' item numbers, how each is divided, and the number of items.
cdef void plan_attention(ox_program *program, ox_batch *batch) noexcept nogil
