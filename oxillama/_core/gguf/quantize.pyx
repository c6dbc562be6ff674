"""Decoding blocks of any weight format of GGUF: plain C, built once, so the same bits at every instruction set."""

import numpy as np

from libc.stdint cimport int32_t, uint8_t

cdef extern from "pack/blocks.h" nogil:
    ctypedef struct ox_format:
        int32_t block
        int32_t block_bytes
    ox_format ox_format_of(int32_t type)
    void ox_dequantize_block(int32_t type, const uint8_t *block, float *out)


def block_of(int type_id):
    """(values, bytes) of a block of the ggml type, (0, 0) for a type that is not decoded here."""
    cdef ox_format f = ox_format_of(type_id)
    return f.block, f.block_bytes


def decode_blocks(int type_id, const uint8_t[::1] raw not None):
    """The float32 values of `raw`, which is whole blocks."""
    cdef ox_format f = ox_format_of(type_id)
    if f.block == 0 or raw.shape[0] % f.block_bytes:
        raise ValueError(f"{raw.shape[0]} bytes are not blocks of ggml type {type_id}")
    cdef Py_ssize_t n_blocks = raw.shape[0] // f.block_bytes
    out = np.empty(n_blocks * f.block, np.float32)
    cdef float[::1] values = out
    cdef Py_ssize_t i
    with nogil:
        for i in range(n_blocks):
            ox_dequantize_block(type_id, &raw[i * f.block_bytes], &values[i * f.block])
    return out
