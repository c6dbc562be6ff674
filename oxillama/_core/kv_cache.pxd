"""The memory of the paged KV cache. Which block belongs to whom is the scheduler's business, not this module's."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t

from oxillama._core.kernels cimport ox_kv_layout
from oxillama._core.memory cimport Pages

cdef class KVCache:
    # Block b of layer l lies at data + l * layer_bytes + b * layout.block_bytes.
    cdef ox_kv_layout layout
    cdef unsigned char *data
    cdef size_t layer_bytes
    cdef readonly int32_t n_layers
    cdef readonly int32_t n_blocks
    cdef Pages _pages
