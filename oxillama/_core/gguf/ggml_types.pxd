from libc.stdint cimport uint32_t, uint64_t

# The numbers under which GGUF files store tensor types.
cdef enum:
    GGML_F32 = 0
    GGML_F16 = 1
    GGML_Q4_0 = 2
    GGML_Q4_1 = 3
    GGML_Q5_0 = 6
    GGML_Q5_1 = 7
    GGML_Q8_0 = 8
    GGML_Q8_1 = 9
    GGML_Q2_K = 10
    GGML_Q3_K = 11
    GGML_Q4_K = 12
    GGML_Q5_K = 13
    GGML_Q6_K = 14
    GGML_Q8_K = 15
    GGML_IQ2_XXS = 16
    GGML_IQ2_XS = 17
    GGML_IQ3_XXS = 18
    GGML_IQ1_S = 19
    GGML_IQ4_NL = 20
    GGML_IQ3_S = 21
    GGML_IQ2_S = 22
    GGML_IQ4_XS = 23
    GGML_I8 = 24
    GGML_I16 = 25
    GGML_I32 = 26
    GGML_I64 = 27
    GGML_F64 = 28
    GGML_IQ1_M = 29
    GGML_BF16 = 30
    GGML_TQ1_0 = 34
    GGML_TQ2_0 = 35
    GGML_MXFP4 = 39
    GGML_NVFP4 = 40
    GGML_Q1_0 = 41
    GGML_Q2_0 = 42
    GGML_TYPE_COUNT = 43

cdef struct GgmlTypeInfo:
    char[16] name            # NUL-terminated, "Q4_K"
    uint32_t block_size      # values per block; a row is a whole number of blocks
    uint32_t block_bytes     # bytes per block

# The type's row of the table, or NULL for a number that no known type has.
cdef const GgmlTypeInfo* ggml_type_info(uint32_t type_id) noexcept nogil
