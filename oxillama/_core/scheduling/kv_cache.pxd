"""The memory of the paged KV cache. Which block belongs to whom is the scheduler's business, not this module's."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t

from oxillama._core.atomics cimport ox_atomic_i64
from oxillama._core.network.kernels cimport ox_kv_layout
from oxillama._core.memory cimport Pages, ox_pages

ctypedef struct ox_kv_arena:
    ox_pages *pages
    size_t block_bytes
    ox_atomic_i64 n_resident  # bytes from the start that have been made resident

# The keys and values of a layer, or of several that share them. Block b lies at data + b * layout.block_bytes.
ctypedef struct ox_kv_store:
    ox_kv_layout layout   # block_bytes: from one block of the arena to the next, with all stores in it
    unsigned char *data
    bint is_windowed      # its blocks are those of the window pool, in an arena of their own

cdef class KVCache:
    cdef ox_kv_store *stores       # [n_stores]
    cdef readonly int32_t n_stores
    cdef readonly int32_t n_blocks
    cdef readonly int32_t n_window_blocks  # 0: no store gives blocks back
    cdef readonly int32_t window           # tokens that windowed stores are seen back, at most
    cdef Pages _pages
    cdef Pages _window_pages               # or None
    cdef ox_kv_arena arena
    cdef ox_kv_arena window_arena
    cdef Pages _place(self, bint is_windowed, Py_ssize_t n_blocks, ox_kv_arena *arena)

# For ox_kv_pool.grow, context: an ox_kv_arena. Makes the memory of the first n_blocks resident, in whole huge pages.
cdef void kv_arena_grow(void *context, int32_t n_blocks) noexcept nogil
