"""The memory of the paged KV cache: an arena of blocks of 32 tokens, all layers of a block together, and a smaller one
for stores that give back what has left their window. Its addresses are there from the start; its pages come when the
pool first gives out a block, between two steps."""

from libc.stddef cimport size_t
from libc.stdlib cimport calloc, free

from oxillama._core.atomics cimport ox_load_relaxed_i64, ox_store_relaxed_i64
from oxillama._core.network.kernels cimport (
    OX_ALIGN,
    OX_KV_BF16,
    OX_KV_BLOCK,
    OX_KV_F16,
    OX_KV_F32,
    OX_KV_Q8_0,
    active_kernels,
    ox_kv_type,
)
from oxillama._core.memory cimport pages_populate

BLOCK_TOKENS = OX_KV_BLOCK
LEAST_BLOCK_BYTES = OX_ALIGN  # of an arena whose blocks hold nothing
KV_TYPES = {"f32": OX_KV_F32, "f16": OX_KV_F16, "bf16": OX_KV_BF16, "q8_0": OX_KV_Q8_0}


cdef ox_kv_layout _layout(str kv_dtype, int n_head_kv, int k_dim, int v_dim):
    cdef ox_kv_layout layout
    layout.type = <ox_kv_type><int>KV_TYPES[kv_dtype]
    layout.n_head_kv = n_head_kv
    layout.k_dim = k_dim
    layout.v_dim = v_dim
    active_kernels().kv_layout(&layout)
    return layout


def block_bytes(str kv_dtype, list stores):
    """Bytes that 32 tokens take in all stores together: (KV heads, values of a key, values of a value) of each."""
    return sum(_layout(kv_dtype, n_head_kv, k_dim, v_dim).block_bytes for n_head_kv, k_dim, v_dim in stores)


cdef class KVCache:
    """An arena of `n_blocks` blocks of 32 tokens. kv_dtype: "f32", "f16", "bf16" or "q8_0". stores: (KV heads, values
    of a key, values of a value) of each. windowed: numbers of those that are seen `window` tokens back at most, which
    get an arena of `n_window_blocks` blocks instead."""

    def __init__(self, str kv_dtype, *, list stores, Py_ssize_t n_blocks, windowed=frozenset(), int32_t window=0,
                 Py_ssize_t n_window_blocks=0):
        cdef int i
        if kv_dtype not in KV_TYPES:
            raise ValueError(f"kv_dtype is {kv_dtype!r}, expected one of {sorted(KV_TYPES)}")
        if n_blocks < 1 or n_blocks >= 2**31:
            raise ValueError(f"n_blocks is {n_blocks}, expected 1 or more")
        if windowed and not (1 <= n_window_blocks < 2**31 and window >= 1):
            raise ValueError(f"n_window_blocks is {n_window_blocks} and window {window}, expected 1 or more")
        self.n_stores = <int32_t>len(stores)
        self.n_blocks = <int32_t>n_blocks
        self.stores = <ox_kv_store *>calloc(max(len(stores), 1), sizeof(ox_kv_store))
        if self.stores == NULL:
            raise MemoryError("no memory for the description of the cache")
        for i, (n_head_kv, k_dim, v_dim) in enumerate(stores):
            self.stores[i].layout = _layout(kv_dtype, n_head_kv, k_dim, v_dim)
            self.stores[i].is_windowed = i in windowed
        self._pages = self._place(False, n_blocks, &self.arena)
        self.arena.pages = &self._pages.c
        if windowed:
            self.window = window
            self.n_window_blocks = <int32_t>n_window_blocks
            self._window_pages = self._place(True, n_window_blocks, &self.window_arena)
            self.window_arena.pages = &self._window_pages.c

    cdef Pages _place(self, bint is_windowed, Py_ssize_t n_blocks, ox_kv_arena *arena):
        """Gives the stores of one kind their place in an arena."""
        cdef size_t offset = 0
        cdef int i
        cdef Pages pages
        # All stores of a block lie together, so that memory comes with the tokens, a huge page for every few blocks.
        # Were the blocks of a layer together, all layers would begin a new page in the same step, and it would stall
        # while they are cleared (benchmarks/latency.py).
        for i in range(self.n_stores):
            offset += self.stores[i].layout.block_bytes if self.stores[i].is_windowed == is_windowed else 0
        # A network without a cache still has a table of blocks, which costs nothing.
        arena.block_bytes = max(offset, <size_t>OX_ALIGN)
        pages = Pages(<size_t>n_blocks * arena.block_bytes)
        offset = 0
        for i in range(self.n_stores):
            if self.stores[i].is_windowed == is_windowed:
                self.stores[i].data = pages.c.data + offset
                offset += self.stores[i].layout.block_bytes
                self.stores[i].layout.block_bytes = arena.block_bytes
        return pages

    def __dealloc__(self):
        free(self.stores)

    @property
    def n_bytes(self):
        return self._pages.c.size + (0 if self._window_pages is None else self._window_pages.c.size)

    @property
    def block_bytes(self):
        """Bytes of a block, of all stores that keep theirs."""
        return self.arena.block_bytes

    @property
    def window_block_bytes(self):
        """Bytes of a block, of all windowed stores."""
        return self.window_arena.block_bytes

    @property
    def n_resident(self):
        """Bytes that the cache has grown to."""
        return ox_load_relaxed_i64(&self.arena.n_resident) + ox_load_relaxed_i64(&self.window_arena.n_resident)

    def grow(self, int32_t n_blocks):
        """Makes the memory of the first `n_blocks` resident."""
        if not 0 <= n_blocks <= self.n_blocks:
            raise ValueError(f"n_blocks is {n_blocks}, expected 0 to {self.n_blocks}")
        kv_arena_grow(&self.arena, n_blocks)

    @property
    def n_tokens(self):
        return <Py_ssize_t>self.n_blocks * OX_KV_BLOCK


cdef void kv_arena_grow(void *context, int32_t n_blocks) noexcept nogil:
    cdef ox_kv_arena *arena = <ox_kv_arena *>context
    cdef size_t n_had = <size_t>ox_load_relaxed_i64(&arena.n_resident)
    cdef size_t n_bytes = n_blocks * arena.block_bytes
    if n_bytes > n_had:
        ox_store_relaxed_i64(&arena.n_resident, pages_populate(arena.pages, n_had, n_bytes))
