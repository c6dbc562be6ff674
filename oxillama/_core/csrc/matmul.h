/* The matrix products of a vector level: chooses the form by the number of tokens, once per group. */
#ifndef OX_MATMUL_H
#define OX_MATMUL_H

#include "matmul_direct.h"
#include "matmul_float.h"
#include "matmul_panel.h"
#include "matmul_quantize.h"

static int32_t K(reads_quants)(int32_t type) {
    return ox_format_of(type).bits != 0;
}

#define OX_MATMUL_ARGUMENTS                                                                                            \
    const ox_matrix *w, int32_t group, const ox_activations *x, int32_t n, float *out, size_t out_stride,              \
        int32_t accumulate, void *scratch

#define OX_DIRECT_CASE(form, type, cols)                                                                               \
    case cols:                                                                                                         \
        if (cols <= OX_DIRECT_COLS) {                                                                                  \
            K(form)(type, cols, w, group, x, out, out_stride, accumulate);                                             \
            return;                                                                                                    \
        }                                                                                                              \
        break;

/* One function per type, with every form of its products. */
#define OX_MATMUL_OF(type, direct, many)                                                                               \
    static void K(matmul_##type)(OX_MATMUL_ARGUMENTS) {                                                                \
        switch (n) {                                                                                                   \
            OX_DIRECT_CASE(direct, type, 1)                                                                            \
            OX_DIRECT_CASE(direct, type, 2)                                                                            \
            OX_DIRECT_CASE(direct, type, 3)                                                                            \
            OX_DIRECT_CASE(direct, type, 4)                                                                            \
        }                                                                                                              \
        K(many)(type, w, group, x, n, out, out_stride, accumulate, scratch);                                           \
    }

OX_MATMUL_OF(OX_F32, float_direct, float_many)
OX_MATMUL_OF(OX_F16, float_direct, float_many)
OX_MATMUL_OF(OX_BF16, float_direct, float_many)
OX_MATMUL_OF(OX_Q4_0, matmul_direct, matmul_panel)
OX_MATMUL_OF(OX_Q4_1, matmul_direct, matmul_panel)
OX_MATMUL_OF(OX_Q5_0, matmul_direct, matmul_panel)
OX_MATMUL_OF(OX_Q5_1, matmul_direct, matmul_panel)
OX_MATMUL_OF(OX_Q8_0, matmul_direct, matmul_panel)
OX_MATMUL_OF(OX_Q4_K, matmul_direct, matmul_panel)
OX_MATMUL_OF(OX_Q5_K, matmul_direct, matmul_panel)
OX_MATMUL_OF(OX_Q6_K, matmul_direct, matmul_panel)

static void K(matmul_group)(OX_MATMUL_ARGUMENTS) {
    switch (w->type) {
#define OX_CASE(type) \
    case type: K(matmul_##type)(w, group, x, n, out, out_stride, accumulate, scratch); break;
        OX_CASE(OX_F32)
        OX_CASE(OX_F16)
        OX_CASE(OX_BF16)
        OX_CASE(OX_Q4_0)
        OX_CASE(OX_Q4_1)
        OX_CASE(OX_Q5_0)
        OX_CASE(OX_Q5_1)
        OX_CASE(OX_Q8_0)
        OX_CASE(OX_Q4_K)
        OX_CASE(OX_Q5_K)
        OX_CASE(OX_Q6_K)
#undef OX_CASE
    }
}

#endif
