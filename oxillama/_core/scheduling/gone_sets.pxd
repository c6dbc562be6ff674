"""Sets of adapters that no request will have again: whoever unloads pushes, the worker frees their cached blocks."""

from libc.stdint cimport uint64_t

from oxillama._core.atomics cimport ox_atomic_ptr
from oxillama._core.scheduling.kv_blocks cimport ox_kv_pool

# From any thread. Without memory the set is left out: its blocks are evicted as others are.
cdef void gone_push(ox_atomic_ptr *gone, uint64_t id) noexcept nogil
# The pool's thread, between two steps.
cdef void gone_forget(ox_atomic_ptr *gone, ox_kv_pool *pool) noexcept nogil
# Nobody else is there any more.
cdef void gone_free(ox_atomic_ptr *gone) noexcept nogil
