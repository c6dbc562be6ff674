/* The inner loops of attention over one tile of 32 keys, for a few query rows at once. The number of rows is a constant
 * of each instance, so the sums stay in registers; it never changes the order of a sum. */
#ifndef OX_ATTENTION_ROWS_H
#define OX_ATTENTION_ROWS_H

/* Query rows per instance: as many as the registers hold beside two vectors of keys or values. */
#if defined(OX_HAS_AVX512)
enum { OX_MICRO_ROWS = 6 };
#elif defined(OX_HAS_AVX2) || defined(OX_HAS_NEON)
enum { OX_MICRO_ROWS = 3 };
#else
enum { OX_MICRO_ROWS = 1 };
#endif

/* scores[row][32] = q . k, one chain per row and key, d ascending. q: [head_dim][rows], k: [head_dim][32]. */
OX_INLINE void K(score_rows)(const int32_t rows, int32_t head_dim, const float *q, const float *k, float *scores) {
    vf low[OX_MICRO_ROWS], high[OX_MICRO_ROWS];
    OX_UNROLL
    for (int32_t row = 0; row < rows; row++) {
        low[row] = high[row] = vf_zero();
    }
    for (int32_t d = 0; d < head_dim; d++) {
        const vf k_low = vf_load(k + d * OX_KV_BLOCK);
        const vf k_high = vf_load(k + d * OX_KV_BLOCK + 16);
        OX_UNROLL
        for (int32_t row = 0; row < rows; row++) {
            const vf x = vf_set(q[d * rows + row]);
            low[row] = vf_fma(x, k_low, low[row]);
            high[row] = vf_fma(x, k_high, high[row]);
        }
    }
    OX_UNROLL
    for (int32_t row = 0; row < rows; row++) {
        vf_store(scores + row * OX_KV_BLOCK, low[row]);
        vf_store(scores + row * OX_KV_BLOCK + 16, high[row]);
    }
}

/* sums[row][d] += weights[row][token] * v[token][d] for tokens [first, end) ascending, in `vectors` vectors of d. */
OX_INLINE void K(weigh_part)(const int32_t rows, const int32_t vectors, int32_t stride, const float *weights,
                             const float *v, int32_t first, int32_t end, float *sums) {
    vf sum[OX_MICRO_ROWS][2];
    OX_UNROLL
    for (int32_t row = 0; row < rows; row++) {
        OX_UNROLL
        for (int32_t i = 0; i < vectors; i++) {
            sum[row][i] = vf_load(sums + row * stride + 16 * i);
        }
    }
    for (int32_t token = first; token < end; token++) {
        vf value[2];
        OX_UNROLL
        for (int32_t i = 0; i < vectors; i++) {
            value[i] = vf_load(v + token * stride + 16 * i);
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
            vf_store(sums + row * stride + 16 * i, sum[row][i]);
        }
    }
}

OX_INLINE void K(weigh_rows)(const int32_t rows, int32_t stride, const float *weights, const float *v, int32_t first,
                             int32_t end, float *sums) {
    int32_t d = 0;
    for (; d + 32 <= stride; d += 32) {
        K(weigh_part)(rows, 2, stride, weights, v + d, first, end, sums + d);
    }
    if (d < stride) {
        K(weigh_part)(rows, 1, stride, weights, v + d, first, end, sums + d);
    }
}

static void K(score)(int32_t rows, int32_t head_dim, const float *q, const float *k, float *scores) {
    switch (rows) {
    case 1:
        K(score_rows)(1, head_dim, q, k, scores);
        break;
#if defined(OX_HAS_AVX512) || defined(OX_HAS_AVX2) || defined(OX_HAS_NEON)
    case 2:
        K(score_rows)(2, head_dim, q, k, scores);
        break;
    case 3:
        K(score_rows)(3, head_dim, q, k, scores);
        break;
#endif
#if defined(OX_HAS_AVX512)
    case 4:
        K(score_rows)(4, head_dim, q, k, scores);
        break;
    case 5:
        K(score_rows)(5, head_dim, q, k, scores);
        break;
    case 6:
        K(score_rows)(6, head_dim, q, k, scores);
        break;
#endif
    default:
        break;
    }
}

static void K(weigh)(int32_t rows, int32_t stride, const float *weights, const float *v, int32_t first, int32_t end,
                     float *sums) {
    switch (rows) {
    case 1:
        K(weigh_rows)(1, stride, weights, v, first, end, sums);
        break;
#if defined(OX_HAS_AVX512) || defined(OX_HAS_AVX2) || defined(OX_HAS_NEON)
    case 2:
        K(weigh_rows)(2, stride, weights, v, first, end, sums);
        break;
    case 3:
        K(weigh_rows)(3, stride, weights, v, first, end, sums);
        break;
#endif
#if defined(OX_HAS_AVX512)
    case 4:
        K(weigh_rows)(4, stride, weights, v, first, end, sums);
        break;
    case 5:
        K(weigh_rows)(5, stride, weights, v, first, end, sums);
        break;
    case 6:
        K(weigh_rows)(6, stride, weights, v, first, end, sums);
        break;
#endif
    default:
        break;
    }
}

#endif
