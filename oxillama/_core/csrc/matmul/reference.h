/* Matrix products of the `reference` level: the file's own blocks, float32 activations, sums in double precision. It is
 * the oracle for the formats, not for the rounding of the other levels (that is matmul/oracle.h). */
#ifndef OX_MATMUL_REFERENCE_H
#define OX_MATMUL_REFERENCE_H

#include "pack/blocks.h"

/* A group is 32 rows of the file, one after another. */
static size_t K(packed_group_bytes)(int32_t type, int32_t k) {
    const size_t bytes = OX_GROUP_ROWS * ox_row_bytes(type, k);
    return (bytes + OX_ALIGN - 1) / OX_ALIGN * OX_ALIGN;
}

static void K(pack_group)(int32_t type, int32_t k, int32_t n_rows, const uint8_t *rows, size_t row_bytes,
                          uint8_t *group) {
    const size_t size = ox_row_bytes(type, k);
    memset(group, 0, K(packed_group_bytes)(type, k));
    for (int32_t r = 0; r < n_rows; r++) {
        memcpy(group + (size_t)r * size, rows + (size_t)r * row_bytes, size);
    }
}

static const uint8_t *K(file_row)(const ox_matrix *w, int32_t row) {
    return w->data + (size_t)(row / OX_GROUP_ROWS) * w->group_bytes +
           (size_t)(row % OX_GROUP_ROWS) * ox_row_bytes(w->type, w->k);
}

static void K(unpack_row)(const ox_matrix *w, int32_t row, float *out) {
    ox_dequantize_row(w->type, w->k, K(file_row)(w, row), out);
}

static void K(quantize_row)(const ox_activations *x, int32_t row) {
    (void)x;
    (void)row;
}

static int32_t K(activation_form)(int32_t type) {
    (void)type;
    return 0;
}

static size_t K(matmul_scratch)(int32_t n) {
    return ((size_t)n * sizeof(double) + OX_ALIGN - 1) / OX_ALIGN * OX_ALIGN;
}

/* Dequantises each stretch of a row once and multiplies it with every token. Within a stretch four sums run side by
 * side, for speed; which value goes into which does not depend on n. */
static void K(matmul_group)(const ox_matrix *w, int32_t group, const ox_activations *x, int32_t n, float *out,
                            size_t out_stride, int32_t accumulate, void *scratch) {
    const ox_format f = ox_format_of(w->type);
    const int32_t first = group * OX_GROUP_ROWS;
    const int32_t n_rows = w->rows - first < OX_GROUP_ROWS ? w->rows - first : OX_GROUP_ROWS;
    double *total = scratch;
    for (int32_t r = 0; r < n_rows; r++) {
        const uint8_t *row = K(file_row)(w, first + r);
        memset(total, 0, (size_t)n * sizeof *total);
        for (int32_t k0 = 0; k0 < w->k; k0 += OX_ACT_BLOCK) {
            const int32_t count = w->k - k0 < OX_ACT_BLOCK ? w->k - k0 : OX_ACT_BLOCK;
            float values[OX_ACT_BLOCK];
            ox_dequantize_row(w->type, count, row + (size_t)(k0 / f.block) * (size_t)f.block_bytes, values);
            for (int32_t t = 0; t < n; t++) {
                const float *activations = x->values + (size_t)t * x->value_stride + k0;
                double sum[4] = {0};
                int32_t i = 0;
                for (; i + 4 <= count; i += 4) {
                    for (int32_t lane = 0; lane < 4; lane++) {
                        sum[lane] += (double)values[i + lane] * (double)activations[i + lane];
                    }
                }
                for (; i < count; i++) {
                    sum[0] += (double)values[i] * (double)activations[i];
                }
                total[t] += (sum[0] + sum[1]) + (sum[2] + sum[3]);
            }
        }
        for (int32_t t = 0; t < n; t++) {
            const float value = (float)(total[t] * (double)w->scale + (w->bias ? (double)w->bias[first + r] : 0.0));
            float *cell = out + (size_t)t * out_stride + r;
            *cell = accumulate ? *cell + value : value;
        }
    }
}

#endif
