/* Products of a few tokens straight from the packed weights: one ascending pass over the group, nothing written but the
 * results. With one token this runs at the speed of memory. */
#ifndef OX_MATMUL_DIRECT_H
#define OX_MATMUL_DIRECT_H

#include "matmul_codes.h"

/* The terms of one sub-block of 32 k for n_cols tokens; `quants` points at the sub-block of the first. */
OX_INLINE void K(direct_sub)(const int32_t type, const int32_t n_cols, const uint8_t *tile, const vf d[2],
                             const ox_activations *x, int32_t block, int32_t sub, vf part[][2]) {
    const ox_format f = ox_format_of(type);
    const int32_t halves = 32 / f.sub;
    const uint8_t *codes = K(codes_at)(type, tile, sub);
    const int32_t k32 = 8 * block + sub;
    const size_t stride = (size_t)x->k_padded;
    const int8_t *quants = x->quants + 32 * k32;
    vi first[OX_DIRECT_COLS][2];
    va sum[OX_DIRECT_COLS][2][2];  /* [token][half][strip] */
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        OX_UNROLL
        for (int32_t h = 0; h < halves; h++) {
            const int32_t *neg_sum = halves == 2 ? x->neg_sums16 + (size_t)c * (stride / 16) + 2 * k32 + h
                                                 : x->neg_sums32 + (size_t)c * (stride / 32) + k32;
            first[c][h] = K(first_sum)(type, neg_sum);
            sum[c][h][0] = sum[c][h][1] = va_begin(f.bits, first[c][h]);
        }
    }
    OX_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        vb low[2], high[2];
        K(load_pairs)(type, codes, j, low, high);
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            const int8_t *column = quants + (size_t)c * stride;
            const vq x_low = vq_load(column + 4 * ox_first_quad(f.bits, j));
            const vq x_high = vq_load(column + 4 * ox_second_quad(f.bits, j));
            OX_UNROLL
            for (int32_t s = 0; s < 2; s++) {
                if (halves == 2) {
                    sum[c][0][s] = va_dot(f.bits, j, sum[c][0][s], low[s], x_low);
                    sum[c][1][s] = va_dot(f.bits, j, sum[c][1][s], high[s], x_high);
                } else {
                    sum[c][0][s] = va_dot(f.bits, 2 * j, sum[c][0][s], low[s], x_low);
                    sum[c][0][s] = va_dot(f.bits, 2 * j + 1, sum[c][0][s], high[s], x_high);
                }
            }
        }
    }
    OX_UNROLL
    for (int32_t s = 0; s < 2; s++) {
        OX_UNROLL
        for (int32_t h = 0; h < halves; h++) {
            const vf scale = K(load_scale)(type, tile, d[s], sub * halves + h, s);
            OX_UNROLL
            for (int32_t c = 0; c < n_cols; c++) {
                part[c][s] = vf_fma(vi_float(va_end(f.bits, sum[c][h][s], first[c][h])), scale, part[c][s]);
            }
        }
        if (f.minima == OX_ADDED_MIN) {
            const vf m = K(load_m)(tile, s);
            OX_UNROLL
            for (int32_t c = 0; c < n_cols; c++) {
                part[c][s] = vf_fma(vf_set((float)x->sums32[(size_t)c * (stride / 32) + k32]), m, part[c][s]);
            }
        }
    }
}

/* part -= dmin * (minima . sums of the sub-blocks) */
OX_INLINE void K(direct_minima)(const int32_t type, const int32_t n_cols, const uint8_t *tile, const ox_activations *x,
                                int32_t block, vf part[][2]) {
    OX_UNROLL
    for (int32_t s = 0; s < 2; s++) {
        const vf neg_dmin = vf_neg(K(load_m)(tile, s));
        vi sum[OX_DIRECT_COLS];
        OX_UNROLL
        for (int32_t pair = 0; pair < 4; pair++) {
            const vw minima = K(load_minima)(tile + ox_minima_offset(type), pair, s);
            OX_UNROLL
            for (int32_t c = 0; c < n_cols; c++) {
                const int16_t *sums = x->sums32 + (size_t)c * (size_t)(x->k_padded / 32) + 8 * block + 2 * pair;
                sum[c] = vi_dot_words(pair == 0 ? vi_set(0) : sum[c], minima, vq_load(sums));
            }
        }
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            part[c][s] = vf_fma(vi_float(sum[c]), neg_dmin, part[c][s]);
        }
    }
}

OX_INLINE void K(matmul_direct)(const int32_t type, const int32_t n_cols, const ox_matrix *w, int32_t group,
                                const ox_activations *x, float *out, size_t out_stride, int32_t accumulate) {
    const ox_format f = ox_format_of(type);
    const uint8_t *data = w->data + (size_t)group * w->group_bytes;
    vf total[OX_DIRECT_COLS][2];
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        total[c][0] = total[c][1] = vf_zero();
    }
    for (int32_t block = 0; block * OX_ACT_BLOCK < w->k; block++) {
        const int32_t left = (w->k - block * OX_ACT_BLOCK) / 32;
        const int32_t n_subs = left < 8 ? left : 8;
        vf part[OX_DIRECT_COLS][2];
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            part[c][0] = part[c][1] = vf_zero();
        }
        const uint8_t *tile = K(tile_at)(type, data, block, 0);
        if (f.block == 256) {
            /* The rest of the header is needed bit by bit, between the codes. Fetched in order now, it does not disturb
             * the ascending stream that the hardware follows: without this, K-quants read at 40 % of the speed. */
            OX_UNROLL
            for (size_t line = OX_LINE; line < ox_header_bytes(type); line += OX_LINE) {
                __builtin_prefetch(tile + line);
            }
        }
        vf d[2] = {K(load_d)(tile, 0), K(load_d)(tile, 1)};
        for (int32_t sub = 0; sub < n_subs; sub++) {
            if (f.block == 32) {
                tile = K(tile_at)(type, data, block, sub);
                d[0] = K(load_d)(tile, 0);
                d[1] = K(load_d)(tile, 1);
            }
            K(direct_sub)(type, n_cols, tile, d, x, block, sub, part);
        }
        if (f.minima == OX_SUBTRACTED_MIN) {
            K(direct_minima)(type, n_cols, tile, x, block, part);
        }
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            const vf scale = vf_set(x->scales[c * (x->k_padded / OX_ACT_BLOCK) + block]);
            total[c][0] = vf_fma(part[c][0], scale, total[c][0]);
            total[c][1] = vf_fma(part[c][1], scale, total[c][1]);
        }
    }
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        OX_UNROLL
        for (int32_t s = 0; s < 2; s++) {
            K(write_strip)(w, group * OX_GROUP_ROWS + 16 * s, total[c][s], out + (size_t)c * out_stride + 16 * s,
                           accumulate);
        }
    }
}

#endif
