/* The inner loops of attention over one tile of 32 keys, for a few query rows at once. Type, number of rows and vectors
 * are constants of each instance, so the sums stay in registers and a cache value is widened there; neither ever
 * changes the order of a sum. Not here: masks, the softmax, and which rows there are. */
#ifndef OX_ATTENTION_ROWS_H
#define OX_ATTENTION_ROWS_H

#include "attention/kv_tile.h"

/* Query rows per call, and up to how many of them work on two vectors at a time: what the registers hold. */
#if defined(OX_HAS_AVX512)
enum { OX_MICRO_ROWS = 8, OX_WIDE_ROWS = 8 };
#elif defined(OX_HAS_AVX2) || defined(OX_HAS_NEON)
enum { OX_MICRO_ROWS = 6, OX_WIDE_ROWS = 3 };
#else
enum { OX_MICRO_ROWS = 2, OX_WIDE_ROWS = 1 };
#endif

/* scores[row][at + lane] = q . k, one chain per row and key, d ascending. q: [k_dim][rows], k: [k_dim][32]. */
OX_INLINE void K(score_part)(const ox_kv_type type, const int32_t rows, const int32_t vectors, int32_t k_dim,
                             const float *q, K(kv_tile) k, int32_t at, float *scores) {
    vf sum[OX_MICRO_ROWS][2];
    vf scale[2] = {vf_zero(), vf_zero()};
    OX_UNROLL
    for (int32_t row = 0; row < rows; row++) {
        sum[row][0] = sum[row][1] = vf_zero();
    }
    const int32_t block = type == OX_KV_Q8_0 ? 32 : k_dim;
    for (int32_t start = 0; start < k_dim; start += block) {
        if (type == OX_KV_Q8_0) {
            OX_UNROLL
            for (int32_t i = 0; i < vectors; i++) {
                scale[i] = vf_load(k.scales + start / 32 * OX_KV_BLOCK + at + 16 * i);
            }
        }
        const int32_t end = k_dim - start < block ? k_dim : start + block;
        for (int32_t d = start; d < end; d++) {
            vf key[2];
            OX_UNROLL
            for (int32_t i = 0; i < vectors; i++) {
                key[i] = K(load_values)(type, k.values, d * OX_KV_BLOCK + at + 16 * i);
                key[i] = type == OX_KV_Q8_0 ? vf_mul(key[i], scale[i]) : key[i];
            }
            if (at == 0 && k.next != k.values) {
                K(prefetch)(type, k.next, d * OX_KV_BLOCK);
            }
            const float *const x_d = q + (ptrdiff_t)d * rows;
            OX_UNROLL
            for (int32_t row = 0; row < rows; row++) {
                const vf x = vf_set(x_d[row]);
                OX_UNROLL
                for (int32_t i = 0; i < vectors; i++) {
                    sum[row][i] = vf_fma(x, key[i], sum[row][i]);
                }
            }
        }
    }
    OX_UNROLL
    for (int32_t row = 0; row < rows; row++) {
        OX_UNROLL
        for (int32_t i = 0; i < vectors; i++) {
            vf_store(scores + row * OX_KV_BLOCK + at + 16 * i, sum[row][i]);
        }
    }
}

OX_INLINE void K(score_rows)(const ox_kv_type type, const int32_t rows, int32_t k_dim, const float *q, K(kv_tile) k,
                             float *scores) {
    if (rows <= OX_WIDE_ROWS) {
        K(score_part)(type, rows, 2, k_dim, q, k, 0, scores);
    } else {
        K(score_part)(type, rows, 1, k_dim, q, k, 0, scores);
        K(score_part)(type, rows, 1, k_dim, q, k, 16, scores);
    }
}

/* sums[row][at + lane] += weights[row][token] * v[token][at + lane] for tokens [first, end) ascending. */
OX_INLINE void K(weigh_part)(const ox_kv_type type, const int32_t rows, const int32_t vectors, int32_t stride,
                             const float *weights, K(kv_tile) v, int32_t first, int32_t end, int32_t at, float *sums) {
    vf sum[OX_MICRO_ROWS][2];
    OX_UNROLL
    for (int32_t row = 0; row < rows; row++) {
        OX_UNROLL
        for (int32_t i = 0; i < vectors; i++) {
            sum[row][i] = vf_load(sums + row * stride + at + 16 * i);
        }
    }
    const int32_t n_sub = (stride + 31) / 32;
    for (int32_t token = first; token < end; token++) {
        vf value[2];
        OX_UNROLL
        for (int32_t i = 0; i < vectors; i++) {
            value[i] = K(load_values)(type, v.values, token * stride + at + 16 * i);
            if (type == OX_KV_Q8_0) {
                value[i] = vf_mul(value[i], vf_set(v.scales[token * n_sub + at / 32]));
            }
        }
        if (v.next != v.values) {
            K(prefetch)(type, v.next, token * stride + at);
        }
        OX_UNROLL
        for (int32_t row = 0; row < rows; row++) {
            const vf weight = vf_set(weights[row * OX_KV_BLOCK + token]);
            OX_UNROLL
            for (int32_t i = 0; i < vectors; i++) {
                sum[row][i] = vf_fma(weight, value[i], sum[row][i]);
            }
        }
    }
    OX_UNROLL
    for (int32_t row = 0; row < rows; row++) {
        OX_UNROLL
        for (int32_t i = 0; i < vectors; i++) {
            vf_store(sums + row * stride + at + 16 * i, sum[row][i]);
        }
    }
}

OX_INLINE void K(weigh_rows)(const ox_kv_type type, const int32_t rows, int32_t stride, const float *weights,
                             K(kv_tile) v, int32_t first, int32_t end, float *sums) {
    int32_t at = 0;
    if (rows <= OX_WIDE_ROWS) {
        for (; at + 32 <= stride; at += 32) {
            K(weigh_part)(type, rows, 2, stride, weights, v, first, end, at, sums);
        }
    }
    for (; at < stride; at += 16) {
        K(weigh_part)(type, rows, 1, stride, weights, v, first, end, at, sums);
    }
}

#if defined(OX_HAS_AVX512)
#define OX_FOR_ROWS(call) \
    switch (rows) {       \
    case 1:               \
        call(1);          \
        break;            \
    case 2:               \
        call(2);          \
        break;            \
    case 3:               \
        call(3);          \
        break;            \
    case 4:               \
        call(4);          \
        break;            \
    case 5:               \
        call(5);          \
        break;            \
    case 6:               \
        call(6);          \
        break;            \
    case 7:               \
        call(7);          \
        break;            \
    default:              \
        call(8);          \
        break;            \
    }
#elif defined(OX_HAS_AVX2) || defined(OX_HAS_NEON)
#define OX_FOR_ROWS(call) \
    switch (rows) {       \
    case 1:               \
        call(1);          \
        break;            \
    case 2:               \
        call(2);          \
        break;            \
    case 3:               \
        call(3);          \
        break;            \
    case 4:               \
        call(4);          \
        break;            \
    case 5:               \
        call(5);          \
        break;            \
    default:              \
        call(6);          \
        break;            \
    }
#else
#define OX_FOR_ROWS(call) \
    if (rows == 1) {      \
        call(1);          \
    } else {              \
        call(2);          \
    }
#endif

/* One pair of functions per cache type; OX_KV_F32 also serves tiles that were widened beforehand. */
#define OX_ROWS_OF_TYPE(name, type)                                                                                   \
    static void K(score_##name)(int32_t rows, int32_t k_dim, const float *q, K(kv_tile) k, float *scores) {        \
        OX_FOR_ROWS(OX_SCORE_##type)                                                                                  \
    }                                                                                                                 \
    static void K(weigh_##name)(int32_t rows, int32_t stride, const float *weights, K(kv_tile) v, int32_t first,      \
                                int32_t end, float *sums) {                                                           \
        OX_FOR_ROWS(OX_WEIGH_##type)                                                                                  \
    }

#define OX_SCORE_OX_KV_F32(n) K(score_rows)(OX_KV_F32, n, k_dim, q, k, scores)
#define OX_SCORE_OX_KV_F16(n) K(score_rows)(OX_KV_F16, n, k_dim, q, k, scores)
#define OX_SCORE_OX_KV_BF16(n) K(score_rows)(OX_KV_BF16, n, k_dim, q, k, scores)
#define OX_SCORE_OX_KV_Q8_0(n) K(score_rows)(OX_KV_Q8_0, n, k_dim, q, k, scores)
#define OX_WEIGH_OX_KV_F32(n) K(weigh_rows)(OX_KV_F32, n, stride, weights, v, first, end, sums)
#define OX_WEIGH_OX_KV_F16(n) K(weigh_rows)(OX_KV_F16, n, stride, weights, v, first, end, sums)
#define OX_WEIGH_OX_KV_BF16(n) K(weigh_rows)(OX_KV_BF16, n, stride, weights, v, first, end, sums)
#define OX_WEIGH_OX_KV_Q8_0(n) K(weigh_rows)(OX_KV_Q8_0, n, stride, weights, v, first, end, sums)

OX_ROWS_OF_TYPE(f32, OX_KV_F32)
OX_ROWS_OF_TYPE(f16, OX_KV_F16)
OX_ROWS_OF_TYPE(bf16, OX_KV_BF16)
OX_ROWS_OF_TYPE(q8_0, OX_KV_Q8_0)

static void K(score)(ox_kv_type type, int32_t rows, int32_t k_dim, const float *q, K(kv_tile) k, float *scores) {
    switch (type) {
    case OX_KV_F32:
        K(score_f32)(rows, k_dim, q, k, scores);
        break;
    case OX_KV_F16:
        K(score_f16)(rows, k_dim, q, k, scores);
        break;
    case OX_KV_BF16:
        K(score_bf16)(rows, k_dim, q, k, scores);
        break;
    case OX_KV_Q8_0:
        K(score_q8_0)(rows, k_dim, q, k, scores);
        break;
    }
}

static void K(weigh)(ox_kv_type type, int32_t rows, int32_t stride, const float *weights, K(kv_tile) v, int32_t first,
                     int32_t end, float *sums) {
    switch (type) {
    case OX_KV_F32:
        K(weigh_f32)(rows, stride, weights, v, first, end, sums);
        break;
    case OX_KV_F16:
        K(weigh_f16)(rows, stride, weights, v, first, end, sums);
        break;
    case OX_KV_BF16:
        K(weigh_bf16)(rows, stride, weights, v, first, end, sums);
        break;
    case OX_KV_Q8_0:
        K(weigh_q8_0)(rows, stride, weights, v, first, end, sums);
        break;
    }
}

#endif
