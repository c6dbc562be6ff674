/* The matrix products of a vector level: chooses the form by the number of tokens, once per group. */
#ifndef OX_MATMUL_H
#define OX_MATMUL_H

#include "matmul/direct.h"
#if defined(OX_HAS_BF16)
#  include "matmul/bf16.h"
#endif
#include "matmul/float.h"
#include "matmul/panel.h"
#include "matmul/quantize.h"

static int32_t K(activation_form)(int32_t type) {
    if (OX_BF16_PAIRS && type == OX_BF16) {
        return OX_FORM_BF16;
    }
    const int32_t act_sub = ox_format_of(type).act_sub;
    return act_sub == 32 ? OX_FORM_INT8_32 : act_sub == OX_ACT_BLOCK ? OX_FORM_INT8 : 0;
}

static void K(quantize_row)(const ox_activations *x, int32_t row) {
    if (x->forms & OX_FORM_INT8) {
        K(quantize_blocks)(x, OX_ACT_BLOCK, row);
    }
    if (x->forms & OX_FORM_INT8_32) {
        K(quantize_blocks)(x, 32, row);
    }
#if defined(OX_HAS_BF16)
    if (x->forms & OX_FORM_BF16) {
        K(round_row)(x, row);
    }
#endif
}

/* Up to how many tokens unpacking anew for every tile is cheaper than a panel. Measured: benchmarks/matmul_speed.py. */
OX_INLINE int32_t ox_tiled_tokens(int32_t type) {
#if defined(OX_HAS_AVX512)
    switch (type) {
        case OX_Q4_0:
        case OX_Q8_0: return INT32_MAX;
        case OX_Q4_1:
        case OX_Q5_0:
        case OX_Q5_1:
        case OX_Q4_K:
        case OX_Q5_K:
        case OX_IQ4_NL:
        case OX_IQ4_XS:
        case OX_MXFP4: return 32;
        case OX_Q3_K:
        case OX_Q6_K: return 10;
        default: return OX_DIRECT_COLS;
    }
#else
    (void)type;
    return 0;
#endif
}

/* Types that are multiplied by panels from two tokens on. Their other forms would double the size of all kernels. */
OX_INLINE int32_t ox_only_panels(const int32_t type) {
    return ox_format_of(type).packing == OX_PACKED_BLOCKS;
}

#define OX_MATMUL_ARGUMENTS                                                                                            \
    const ox_matrix *w, int32_t group, const ox_activations *x, int32_t n, float *out, size_t out_stride,              \
        int32_t accumulate, void *scratch

#define OX_DIRECT(form, type, cols)                                                                                    \
    case cols:                                                                                                         \
        if (cols <= OX_DIRECT_COLS) {                                                                                  \
            K(form)(type, cols, w, group, x, out, out_stride, accumulate);                                             \
            return;                                                                                                    \
        }                                                                                                              \
        break;

/* One function per type, with every form of its products. */
#define OX_MATMUL_FLOAT(type, direct, many)                                                                            \
    static void K(matmul_##type)(OX_MATMUL_ARGUMENTS) {                                                                \
        switch (n) {                                                                                                   \
            OX_DIRECT(direct, type, 1)                                                                                 \
            OX_DIRECT(direct, type, 2)                                                                                 \
            OX_DIRECT(direct, type, 3)                                                                                 \
            OX_DIRECT(direct, type, 4)                                                                                 \
            OX_DIRECT(direct, type, 5)                                                                                 \
            OX_DIRECT(direct, type, 6)                                                                                 \
        }                                                                                                              \
        K(many)(type, w, group, x, n, out, out_stride, accumulate, scratch);                                           \
    }
#define OX_MATMUL_INT(type)                                                                                            \
    static void K(matmul_##type)(OX_MATMUL_ARGUMENTS) {                                                                \
        if (n == 1) {                                                                                                  \
            K(matmul_direct)(type, 1, w, group, x, out, out_stride, accumulate);                                       \
            return;                                                                                                    \
        }                                                                                                              \
        if (ox_only_panels(type)) {                                                                                    \
            K(matmul_panel)(type, w, group, x, n, out, out_stride, accumulate, scratch);                               \
            return;                                                                                                    \
        }                                                                                                              \
        switch (n) {                                                                                                   \
            OX_DIRECT(matmul_direct, type, 2)                                                                          \
            OX_DIRECT(matmul_direct, type, 3)                                                                          \
            OX_DIRECT(matmul_direct, type, 4)                                                                          \
            OX_DIRECT(matmul_direct, type, 5)                                                                          \
            OX_DIRECT(matmul_direct, type, 6)                                                                          \
        }                                                                                                              \
        if (n <= ox_tiled_tokens(type)) {                                                                              \
            K(matmul_tiles)(type, w, group, x, n, out, out_stride, accumulate, scratch);                               \
        } else {                                                                                                       \
            K(matmul_panel)(type, w, group, x, n, out, out_stride, accumulate, scratch);                               \
        }                                                                                                              \
    }

OX_MATMUL_FLOAT(OX_F32, float_direct, float_many)
OX_MATMUL_FLOAT(OX_F16, float_direct, float_many)
#if defined(OX_HAS_BF16)
OX_MATMUL_FLOAT(OX_BF16, bf16_direct, bf16_many)
#else
OX_MATMUL_FLOAT(OX_BF16, float_direct, float_many)
#endif
#define OX_ROW(name, ...) OX_MATMUL_INT(OX_##name)
OX_INT_TYPES(OX_ROW)
#undef OX_ROW

static void K(matmul_group)(OX_MATMUL_ARGUMENTS) {
    switch (w->type) {
#define OX_ROW(name, ...) \
    case OX_##name: K(matmul_OX_##name)(w, group, x, n, out, out_stride, accumulate, scratch); break;
        OX_FLOAT_TYPES(OX_ROW)
        OX_INT_TYPES(OX_ROW)
#undef OX_ROW
        default: break;
    }
}

#endif
