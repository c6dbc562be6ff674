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

# The keys and values of a layer, or of several that share them. Block b lies at data + offset + b * layout.block_bytes.
ctypedef struct ox_kv_store:
    ox_kv_layout layout   # block_bytes: from one block of the arena to the next, with all stores in it
    size_t offset

cdef class KVCache:
    cdef ox_kv_store *stores       # [n_stores]
    cdef unsigned char *data
    cdef readonly int32_t n_stores
    cdef readonly int32_t n_blocks
    cdef Pages _pages
    cdef ox_kv_arena arena

# For ox_kv_pool.grow, context: an ox_kv_arena. Makes the memory of the first n_blocks resident, in whole huge pages.
cdef void kv_arena_grow(void *context, int32_t n_blocks) noexcept nogil
