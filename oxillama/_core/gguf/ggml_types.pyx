"""The table of ggml tensor types: number, name, values per block, bytes per block. Not how blocks are decoded.

Numbers and sizes are facts of the ggml file format (``ggml_type`` and the block structs in llama.cpp's ggml).
"""

from typing import NamedTuple

from libc.stdint cimport uint32_t
from libc.string cimport memcpy


class GgmlType(NamedTuple):
    """One tensor type: its name, the number of values in a block, and the bytes of a block."""

    name: str
    block_size: int
    block_bytes: int


GGML_TYPES = {
    GGML_F32: GgmlType("F32", 1, 4),
    GGML_F16: GgmlType("F16", 1, 2),
    GGML_Q4_0: GgmlType("Q4_0", 32, 18),
    GGML_Q4_1: GgmlType("Q4_1", 32, 20),
    GGML_Q5_0: GgmlType("Q5_0", 32, 22),
    GGML_Q5_1: GgmlType("Q5_1", 32, 24),
    GGML_Q8_0: GgmlType("Q8_0", 32, 34),
    GGML_Q8_1: GgmlType("Q8_1", 32, 36),
    GGML_Q2_K: GgmlType("Q2_K", 256, 84),
    GGML_Q3_K: GgmlType("Q3_K", 256, 110),
    GGML_Q4_K: GgmlType("Q4_K", 256, 144),
    GGML_Q5_K: GgmlType("Q5_K", 256, 176),
    GGML_Q6_K: GgmlType("Q6_K", 256, 210),
    GGML_Q8_K: GgmlType("Q8_K", 256, 292),
    GGML_IQ2_XXS: GgmlType("IQ2_XXS", 256, 66),
    GGML_IQ2_XS: GgmlType("IQ2_XS", 256, 74),
    GGML_IQ3_XXS: GgmlType("IQ3_XXS", 256, 98),
    GGML_IQ1_S: GgmlType("IQ1_S", 256, 50),
    GGML_IQ4_NL: GgmlType("IQ4_NL", 32, 18),
    GGML_IQ3_S: GgmlType("IQ3_S", 256, 110),
    GGML_IQ2_S: GgmlType("IQ2_S", 256, 82),
    GGML_IQ4_XS: GgmlType("IQ4_XS", 256, 136),
    GGML_I8: GgmlType("I8", 1, 1),
    GGML_I16: GgmlType("I16", 1, 2),
    GGML_I32: GgmlType("I32", 1, 4),
    GGML_I64: GgmlType("I64", 1, 8),
    GGML_F64: GgmlType("F64", 1, 8),
    GGML_IQ1_M: GgmlType("IQ1_M", 256, 56),
    GGML_BF16: GgmlType("BF16", 1, 2),
    GGML_TQ1_0: GgmlType("TQ1_0", 256, 54),
    GGML_TQ2_0: GgmlType("TQ2_0", 256, 66),
    GGML_MXFP4: GgmlType("MXFP4", 32, 17),
    GGML_NVFP4: GgmlType("NVFP4", 64, 36),
    GGML_Q1_0: GgmlType("Q1_0", 128, 18),
    GGML_Q2_0: GgmlType("Q2_0", 64, 18),
}

cdef GgmlTypeInfo[GGML_TYPE_COUNT] TABLE  # written once, here; block_size 0 marks a hole in the numbering


cdef void fill_table() except *:
    cdef bytes name
    for type_id, row in GGML_TYPES.items():
        name = row.name.encode()
        memcpy(TABLE[<uint32_t> type_id].name, <const char*> name, len(name) + 1)
        TABLE[<uint32_t> type_id].block_size = row.block_size
        TABLE[<uint32_t> type_id].block_bytes = row.block_bytes


fill_table()


cdef const GgmlTypeInfo* ggml_type_info(uint32_t type_id) noexcept nogil:
    if type_id >= GGML_TYPE_COUNT or TABLE[type_id].block_size == 0:
        return NULL
    return &TABLE[type_id]
