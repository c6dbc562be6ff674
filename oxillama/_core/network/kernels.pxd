"""The kernel contract of csrc/kernels.h for cimport, and the table chosen for this process."""

from libc.stdint cimport int8_t, int32_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "kernels.h" nogil:
    enum:
        OX_GROUP_ROWS
        OX_ACT_BLOCK
        OX_KV_BLOCK
        OX_ATTN_RANGE
        OX_ALIGN
        OX_FORM_INT8
        OX_FORM_BF16
        OX_FORM_INT8_32
        OX_GUMBEL_BLOCK

    ctypedef struct ox_matrix:
        int32_t type
        int32_t rows
        int32_t k
        size_t group_bytes
        const uint8_t *data
        float scale
        const float *bias

    ctypedef struct ox_act_block:
        int8_t quants[256]
        float scale

    ctypedef struct ox_activations:
        int32_t k
        int32_t max_rows
        const float *values
        size_t value_stride
        int32_t forms
        ox_act_block *blocks
        ox_act_block *blocks32
        uint16_t *rounded

    ctypedef enum ox_kv_type:
        OX_KV_F32
        OX_KV_F16
        OX_KV_BF16
        OX_KV_Q8_0

    ctypedef struct ox_kv_layout:
        ox_kv_type type
        int32_t n_head_kv
        int32_t k_dim
        int32_t v_dim
        size_t k_bytes
        size_t head_bytes
        size_t block_bytes

    ctypedef enum ox_span:
        OX_SPAN_CAUSAL
        OX_SPAN_SYMMETRIC
        OX_SPAN_CHUNK

    ctypedef struct ox_attention_run:
        const float *q
        size_t q_stride
        float *out
        size_t out_stride
        int32_t n_tokens
        int32_t first_position
        int32_t n_keys
        int32_t group
        int32_t head_kv
        ox_span span
        int32_t window
        float scale
        float soft_cap
        const float *slopes
        const float *sinks
        const uint8_t *layer
        const int32_t *blocks
        void *scratch

    void ox_attended_keys(const ox_attention_run *run, int32_t position, int32_t *first, int32_t *end) noexcept

    enum:
        OX_EXP
        OX_SIGMOID
        OX_SOFTPLUS
        OX_N_ACTIVATIONS
        OX_ACTIVATION_PARAMETERS

    ctypedef int ox_activation
    const char *ox_activation_name(int32_t kind)

    ctypedef enum ox_rope_layout:
        OX_ROPE_INTERLEAVED
        OX_ROPE_HALVES

    ctypedef struct ox_gumbel_draw:
        uint32_t[2] key
        uint32_t position
        uint32_t choice
        uint32_t stage
        float max
        float inverse_temperature
        double temperature

    ctypedef enum ox_rule:
        OX_RULE_PLAIN
        OX_RULE_DELTA
        OX_RULE_SCAN
        OX_RULE_BONUS
        OX_RULE_PAIRED

    ctypedef struct ox_row_series:
        const float *data
        size_t stride

    ctypedef struct ox_recurrence:
        ox_rule rule
        int32_t n_tokens
        int32_t k_dim
        int32_t v_dim
        int32_t decay_by_key
        float *state
        size_t state_stride
        ox_row_series q
        ox_row_series k
        ox_row_series v
        ox_row_series decay
        ox_row_series step
        ox_row_series a
        ox_row_series b
        const float *bonus
        const float *rates
        size_t rate_stride
        float *out
        size_t out_stride

    ctypedef struct ox_kernels:
        const char *name
        size_t (*packed_group_bytes)(int32_t type, int32_t k) noexcept nogil
        void (*pack_group)(int32_t type, int32_t k, int32_t n_rows, const uint8_t *rows, size_t row_bytes,
                           uint8_t *group) noexcept nogil
        void (*pack_group_decoded)(int32_t type, int32_t k, int32_t n_rows, const uint8_t *rows, size_t row_bytes,
                                   uint8_t *group) noexcept nogil
        void (*unpack_row)(const ox_matrix *w, int32_t row, float *out) noexcept nogil
        void (*quantize_row)(const ox_activations *x, int32_t row) noexcept nogil
        int32_t (*activation_form)(int32_t type) noexcept nogil
        void (*matmul_group)(const ox_matrix *w, int32_t group, const ox_activations *x, int32_t n, float *out,
                             size_t out_stride, int32_t accumulate, void *scratch) noexcept nogil
        size_t (*matmul_scratch)(int32_t n) noexcept nogil
        void (*rms_norm)(int32_t n, const float *x, const float *weight, float eps, float *y) noexcept nogil
        void (*layer_norm)(int32_t n, const float *x, const float *weight, const float *bias, float eps,
                           float *y) noexcept nogil
        void (*add)(int32_t n, const float *x, const float *y, float *out) noexcept nogil
        void (*multiply)(int32_t n, const float *x, const float *y, float *out) noexcept nogil
        void (*scale)(int32_t n, float factor, const float *x, float *out) noexcept nogil
        void (*add_scaled)(int32_t n, const float *x, float factor, const float *y, float *out) noexcept nogil
        void (*activate)(ox_activation kind, int32_t n, const float *x, const float *p, float *out) noexcept nogil
        void (*gated)(ox_activation kind, int32_t n, const float *gate, const float *up, const float *p,
                      float *out) noexcept nogil
        void (*rope)(ox_rope_layout layout, int32_t n_heads, int32_t head_dim, int32_t rope_dims,
                     const float *cos_sin, float *x) noexcept nogil
        double (*log_sum_exp)(int32_t n, const float *x) noexcept nogil
        void (*kv_layout)(ox_kv_layout *layout) noexcept nogil
        void (*kv_store)(const ox_kv_layout *layout, const float *k, const float *v, int32_t slot,
                         uint8_t *block) noexcept nogil
        void (*attention)(const ox_kv_layout *layout, const ox_attention_run *run) noexcept nogil
        size_t (*attention_scratch)(const ox_kv_layout *layout, int32_t group) noexcept nogil
        size_t (*attention_part_floats)(const ox_kv_layout *layout, int32_t group) noexcept nogil
        void (*attention_range)(const ox_kv_layout *layout, const ox_attention_run *run, int32_t range,
                                float *part) noexcept nogil
        void (*attention_merge)(const ox_kv_layout *layout, const ox_attention_run *run, int32_t n,
                                float *parts) noexcept nogil
        void (*convolve)(int32_t n, int32_t n_taps, const float *const *inputs, const float *weight,
                         size_t weight_stride, const float *bias, float *out) noexcept nogil
        void (*recur)(const ox_recurrence *recurrence) noexcept nogil
        uint64_t (*gumbel_block)(const ox_gumbel_draw *draw, uint32_t block, const float *logits, float bar,
                                 uint32_t *words) noexcept nogil


# The table in use: the fastest usable level, or the one OXILLAMA_ISA names. Chosen once, at import.
cdef const ox_kernels* active_kernels() noexcept nogil
# The table of a usable level by name, for tests and benchmarks; raises ValueError for any other name.
cdef const ox_kernels* kernels_of(str level) except NULL
