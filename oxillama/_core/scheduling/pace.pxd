"""How fast steps are, and so how many prompt tokens fit beside running sequences."""

from libc.stdint cimport int32_t, int64_t

# Moving averages; 0 until first measured.
ctypedef struct ox_pace:
    double decode_step_ns     # a step that only decodes
    double prompt_token_ns    # one prompt token more

cdef void pace_observe(ox_pace *pace, int64_t step_ns, int32_t n_tokens, int32_t n_decode) noexcept nogil
# Prompt tokens that a step may add while sequences decode: at least one KV block.
cdef int32_t pace_chunk_tokens(const ox_pace *pace, int64_t max_step_ns) noexcept nogil
