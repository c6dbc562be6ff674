"""The memory of the paged KV cache. Which block belongs to whom is the scheduler's business, not this module's."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t

from oxillama._core.kernels cimport ox_kv_layout
from oxillama._core.memory cimport Pages

# The keys and values of a layer, or of several that share them. Block b lies at data + offset + b * layout.block_bytes.
ctypedef struct ox_kv_store:
    ox_kv_layout layout   # block_bytes: from one block of the arena to the next, with all stores in it
    size_t offset

cdef class KVCache:
    cdef ox_kv_store *stores       # [n_stores]
    cdef unsigned char *data
    cdef readonly int32_t n_stores
    cdef readonly int32_t n_blocks
    cdef readonly size_t block_bytes
    cdef Pages _pages
