"""The memory of the paged KV cache: an arena of blocks of 32 tokens, all layers of a block together, touched only when
written."""

from oxillama._core.kernels cimport (
    OX_KV_BF16,
    OX_KV_BLOCK,
    OX_KV_F16,
    OX_KV_F32,
    OX_KV_Q8_0,
    active_kernels,
    ox_kv_type,
)

BLOCK_TOKENS = OX_KV_BLOCK
KV_TYPES = {"f32": OX_KV_F32, "f16": OX_KV_F16, "bf16": OX_KV_BF16, "q8_0": OX_KV_Q8_0}


cdef ox_kv_layout _layout(str kv_dtype, int n_head_kv, int head_dim):
    cdef ox_kv_layout layout
    layout.type = <ox_kv_type><int>KV_TYPES[kv_dtype]
    layout.n_head_kv = n_head_kv
    layout.head_dim = head_dim
    active_kernels().kv_layout(&layout)
    return layout


def block_bytes(str kv_dtype, int n_layers, int n_head_kv, int head_dim):
    """Bytes that 32 tokens take in all layers together."""
    return n_layers * _layout(kv_dtype, n_head_kv, head_dim).block_bytes


cdef class KVCache:
    """An arena of `n_blocks` blocks of 32 tokens. kv_dtype: "f32", "f16", "bf16" or "q8_0"."""

    def __init__(self, str kv_dtype, *, int n_layers, int n_head_kv, int head_dim, Py_ssize_t n_blocks):
        if kv_dtype not in KV_TYPES:
            raise ValueError(f"kv_dtype is {kv_dtype!r}, expected one of {sorted(KV_TYPES)}")
        if n_blocks < 1 or n_blocks >= 2**31:
            raise ValueError(f"n_blocks is {n_blocks}, expected 1 or more")
        self.layout = _layout(kv_dtype, n_head_kv, head_dim)
        self.n_layers = n_layers
        self.n_blocks = <int32_t>n_blocks
        # The layers of a block lie together, so that memory comes with the tokens, a huge page for every few blocks.
        # Were the blocks of a layer together, all layers would begin a new page in the same step, and it would stall
        # while they are cleared (benchmarks/latency.py).
        self.layer_bytes = self.layout.block_bytes
        self.layout.block_bytes *= n_layers
        self._pages = Pages(<size_t>n_blocks * self.layout.block_bytes)
        self.data = self._pages.c.data

    @property
    def n_bytes(self):
        return self._pages.c.size

    @property
    def n_tokens(self):
        return <Py_ssize_t>self.n_blocks * OX_KV_BLOCK
