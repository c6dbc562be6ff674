"""Calls the row, KV and attention kernels of any usable level on NumPy arrays, for tests and benchmarks only."""

import numpy as np

from cython cimport view
from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport free
from posix.stdlib cimport posix_memalign

from oxillama._core.network.kernels cimport (
    OX_ACTIVATION_PARAMETERS,
    OX_ALIGN,
    OX_KV_BLOCK,
    OX_N_ACTIVATIONS,
    OX_ROPE_HALVES,
    OX_ROPE_INTERLEAVED,
    OX_SPAN_CAUSAL,
    OX_SPAN_CHUNK,
    kernels_of,
    ox_activation,
    ox_attention_run,
    ox_kernels,
    ox_kv_layout,
    ox_kv_type,
    ox_span,
)

KV_TYPES = {"f32": 0, "f16": 1, "bf16": 2, "q8_0": 3}


cdef ox_kv_layout _layout(const ox_kernels* kernels, str kv_type, int n_head_kv, int k_dim, int v_dim) except *:
    cdef ox_kv_layout layout
    if kv_type not in KV_TYPES:
        raise ValueError(f"kv_type is {kv_type!r}, expected one of {', '.join(KV_TYPES)}")
    if n_head_kv < 1 or k_dim < 1 or v_dim < 1:
        raise ValueError(f"n_head_kv={n_head_kv}, k_dim={k_dim} and v_dim={v_dim} must be positive")
    layout.type = <ox_kv_type><int>KV_TYPES[kv_type]
    layout.n_head_kv = n_head_kv
    layout.k_dim = k_dim
    layout.v_dim = v_dim
    kernels.kv_layout(&layout)
    return layout


def aligned_bytes(size_t size):
    cdef void* memory = NULL
    if posix_memalign(&memory, OX_ALIGN, size) != 0:
        raise MemoryError(f"no {size} bytes")
    cdef view.array buffer = view.array((size,), 1, "B", allocate_buffer=False)
    buffer.data = <char*>memory
    buffer.callback_free_data = free
    return np.asarray(buffer)


def kv_layout(str level, str kv_type, int n_head_kv, int k_dim, int v_dim):
    layout = _layout(kernels_of(level), kv_type, n_head_kv, k_dim, v_dim)
    return layout.k_bytes, layout.head_bytes, layout.block_bytes


cdef void _check_blocks(const ox_kv_layout* layout, const uint8_t[::1] arena, const int32_t[::1] blocks,
                        Py_ssize_t n_positions) except *:
    cdef Py_ssize_t i
    if blocks.shape[0] * OX_KV_BLOCK < n_positions:
        raise ValueError(f"{blocks.shape[0]} blocks do not hold {n_positions} positions")
    for i in range(blocks.shape[0]):
        if blocks[i] < 0 or (blocks[i] + 1) * layout.block_bytes > <size_t>arena.shape[0]:
            raise ValueError(f"block {blocks[i]} lies outside an arena of {arena.shape[0]} bytes")


def kv_store(str level, str kv_type, const float[:, :, ::1] k, const float[:, :, ::1] v, int first_position,
             uint8_t[::1] arena, const int32_t[::1] blocks):
    cdef const ox_kernels* kernels = kernels_of(level)
    cdef ox_kv_layout layout = _layout(kernels, kv_type, k.shape[1], k.shape[2], v.shape[2])
    cdef int token, position
    if v.shape[0] != k.shape[0] or v.shape[1] != k.shape[1]:
        raise ValueError("k and v differ in shape")
    _check_blocks(&layout, arena, blocks, first_position + k.shape[0])
    with nogil:
        for token in range(<int>k.shape[0]):
            position = first_position + token
            kernels.kv_store(&layout, &k[token, 0, 0], &v[token, 0, 0], position % OX_KV_BLOCK,
                             &arena[0] + blocks[position // OX_KV_BLOCK] * layout.block_bytes)


def attention(str level, str kv_type, const float[:, :, ::1] q, int n_head_kv, int first_position, int window,
              float scale, const uint8_t[::1] arena, const int32_t[::1] blocks, float[:, :, ::1] out,
              int first_head_kv=0, int end_head_kv=-1, int repeat=1, int span=OX_SPAN_CAUSAL, int n_keys=-1,
              float soft_cap=0, const float[::1] slopes=None, const float[::1] sinks=None):
    cdef const ox_kernels* kernels = kernels_of(level)
    cdef ox_kv_layout layout = _layout(kernels, kv_type, n_head_kv, q.shape[2], out.shape[2])
    cdef ox_attention_run run
    cdef int head, _turn, group, end
    if q.shape[1] % n_head_kv != 0 or q.shape[0] < 1:
        raise ValueError(f"{q.shape[1]} query heads over {n_head_kv} KV heads, {q.shape[0]} tokens")
    if out.shape[0] != q.shape[0] or out.shape[1] != q.shape[1]:
        raise ValueError("q and out differ in shape")
    if (slopes is not None and slopes.shape[0] != q.shape[1]) or (sinks is not None and sinks.shape[0] != q.shape[1]):
        raise ValueError("a slope or a sink for each query head")
    if span == OX_SPAN_CHUNK and window < 1:
        raise ValueError("chunks need a width")
    n_keys = max(n_keys, first_position + <int>q.shape[0])
    _check_blocks(&layout, arena, blocks, n_keys)
    group = q.shape[1] // n_head_kv
    end = n_head_kv if end_head_kv < 0 else end_head_kv
    cdef uint8_t[::1] scratch = aligned_bytes(kernels.attention_scratch(&layout, group))
    run.q_stride = q.shape[1] * q.shape[2]
    run.out_stride = out.shape[1] * out.shape[2]
    run.n_keys = n_keys
    run.span = <ox_span>span
    run.soft_cap = soft_cap
    run.n_tokens = q.shape[0]
    run.first_position = first_position
    run.group = group
    run.window = window
    run.scale = scale
    run.layer = &arena[0]
    run.blocks = &blocks[0]
    run.scratch = &scratch[0]
    with nogil:
        for _turn in range(repeat):
            for head in range(first_head_kv, end):
                run.head_kv = head
                run.q = &q[0, head * group, 0]
                run.slopes = &slopes[head * group] if slopes is not None else NULL
                run.sinks = &sinks[head * group] if sinks is not None else NULL
                run.out = &out[0, head * group, 0]
                kernels.attention(&layout, &run)


def rms_norm(str level, const float[::1] x, weight, float eps):
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] y = out
    cdef const float[::1] w = x if weight is None else weight
    cdef const float* factors = NULL
    if w.shape[0] != x.shape[0]:
        raise ValueError("x and weight differ in length")
    if weight is not None:
        factors = &w[0]
    kernels_of(level).rms_norm(<int32_t>x.shape[0], &x[0], factors, eps, &y[0])
    return out


def add(str level, const float[::1] x, const float[::1] y):
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] z = out
    if y.shape[0] != x.shape[0]:
        raise ValueError("x and y differ in length")
    kernels_of(level).add(<int32_t>x.shape[0], &x[0], &y[0], &z[0])
    return out


def multiply(str level, const float[::1] x, const float[::1] y):
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] z = out
    if y.shape[0] != x.shape[0]:
        raise ValueError("x and y differ in length")
    kernels_of(level).multiply(<int32_t>x.shape[0], &x[0], &y[0], &z[0])
    return out


def scale(str level, const float[::1] x, float factor):
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] z = out
    kernels_of(level).scale(<int32_t>x.shape[0], factor, &x[0], &z[0])
    return out


def add_scaled(str level, const float[::1] x, float factor, const float[::1] y):
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] z = out
    if y.shape[0] != x.shape[0]:
        raise ValueError("x and y differ in length")
    kernels_of(level).add_scaled(<int32_t>x.shape[0], &x[0], factor, &y[0], &z[0])
    return out


def layer_norm(str level, const float[::1] x, const float[::1] weight, const float[::1] bias, float eps):
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] z = out
    if (weight is not None and weight.shape[0] != x.shape[0]) or (bias is not None and bias.shape[0] != x.shape[0]):
        raise ValueError("x, weight and bias differ in length")
    kernels_of(level).layer_norm(<int32_t>x.shape[0], &x[0], &weight[0] if weight is not None else NULL,
                                 &bias[0] if bias is not None else NULL, eps, &z[0])
    return out


def activate(str level, int function, const float[::1] x, const float[::1] parameters):
    out = np.empty(x.shape[0], np.float32)
    cdef float[::1] z = out
    if not 0 <= function < OX_N_ACTIVATIONS or parameters.shape[0] != OX_ACTIVATION_PARAMETERS:
        raise ValueError("no such function")
    kernels_of(level).activate(<ox_activation>function, <int32_t>x.shape[0], &x[0], &parameters[0], &z[0])
    return out


def gated(str level, int function, const float[::1] gate, const float[::1] up, const float[::1] parameters):
    out = np.empty(gate.shape[0], np.float32)
    cdef float[::1] z = out
    if up.shape[0] != gate.shape[0]:
        raise ValueError("gate and up differ in length")
    if not 0 <= function < OX_N_ACTIVATIONS or parameters.shape[0] != OX_ACTIVATION_PARAMETERS:
        raise ValueError("no such function")
    kernels_of(level).gated(<ox_activation>function, <int32_t>gate.shape[0], &gate[0], &up[0], &parameters[0], &z[0])
    return out


def rope(str level, bint halves, float[:, ::1] x, const float[::1] cos_sin):
    cdef int rope_dims = <int>cos_sin.shape[0]
    if rope_dims % 2 or rope_dims < 2 or rope_dims > x.shape[1]:
        raise ValueError(f"{rope_dims} rotated dimensions in heads of {x.shape[1]}")
    kernels_of(level).rope(OX_ROPE_HALVES if halves else OX_ROPE_INTERLEAVED, <int32_t>x.shape[0],
                           <int32_t>x.shape[1], rope_dims, &cos_sin[0], &x[0, 0])


def log_sum_exp(str level, const float[::1] x):
    return kernels_of(level).log_sum_exp(<int32_t>x.shape[0], &x[0])
