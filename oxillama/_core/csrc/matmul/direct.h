/* Products straight from the packed weights: codes are unpacked in registers and multiplied with up to OX_DIRECT_COLS
 * tokens at once. One such tile reads the group in one ascending pass, at the speed of memory with one token; for more
 * tokens tiles take turns over one block of k, whose codes then come from the first-level cache. */
#ifndef OX_MATMUL_DIRECT_H
#define OX_MATMUL_DIRECT_H

#include "matmul/codes.h"

/* The terms of sub-block `sub` (of 32 k) for n_cols tokens; x: the activation block of the first. */
OX_INLINE void K(direct_sub)(const int32_t type, const int32_t n_cols, const uint8_t *tile, const vf d[2],
                             const ox_act_block *x, int32_t sub, vf part[][2]) {
    const ox_format f = ox_format_of(type);
    const int32_t halves = 32 / f.sub;
    const int32_t bits = ox_factor_bits(type);
    const int32_t offset = ox_stored_offset(type);
    const uint8_t *codes = K(codes_at)(type, tile, sub);
    va sum[OX_DIRECT_COLS][2][2];  /* [token][half][strip] */
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        OX_UNROLL
        for (int32_t h = 0; h < halves; h++) {
            sum[c][h][0] = sum[c][h][1] = va_begin(bits, offset, K(neg_sum)(type, &x[c], halves * sub + h));
        }
    }
    OX_UNROLL
    for (int32_t j = 0; j < 4; j++) {
        vb low[2], high[2];
        K(load_pairs)(type, codes, j, low, high);
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            const int8_t *quants = x[c].quants + 32 * sub;
            const vq x_low = vq_load(quants + 4 * ox_first_word(f.bits, j));
            const vq x_high = vq_load(quants + 4 * ox_second_word(f.bits, j));
            OX_UNROLL
            for (int32_t s = 0; s < 2; s++) {
                if (halves == 2) {
                    sum[c][0][s] = va_dot(bits, sum[c][0][s], low[s], x_low);
                    sum[c][1][s] = va_dot(bits, sum[c][1][s], high[s], x_high);
                } else {
                    sum[c][0][s] = va_dot(bits, sum[c][0][s], low[s], x_low);
                    sum[c][0][s] = va_dot(bits, sum[c][0][s], high[s], x_high);
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
                const vi products = va_end(bits, offset, sum[c][h][s], K(neg_sum)(type, &x[c], halves * sub + h));
                part[c][s] = vf_fma(K(products_float)(type, products, &x[c], sub), scale, part[c][s]);
            }
        }
        if (f.minima == OX_MIN_ADDED) {
            const vf m = K(load_m)(type, tile, s);
            OX_UNROLL
            for (int32_t c = 0; c < n_cols; c++) {
                part[c][s] = vf_fma(vf_set(x[c].scaled_sums32[sub]), m, part[c][s]);
            }
        }
    }
}

/* part -= dmin * (minima . sums of the sub-blocks) */
OX_INLINE void K(direct_minima)(const int32_t type, const int32_t n_cols, const uint8_t *tile, const ox_act_block *x,
                                vf part[][2]) {
    OX_UNROLL
    for (int32_t s = 0; s < 2; s++) {
        const vf neg_dmin = vf_neg(K(load_m)(type, tile, s));
        vi sum[OX_DIRECT_COLS];
        OX_UNROLL
        for (int32_t step = 0; step < ox_minima_steps(type); step++) {
            const vw minima = K(load_minima)(type, tile + ox_minima_offset(type), step, s);
            OX_UNROLL
            for (int32_t c = 0; c < n_cols; c++) {
                const vq sums = K(load_minima_sums)(type, &x[c], step);
                sum[c] = vi_dot_words(step == 0 ? vi_set(0) : sum[c], minima, sums);
            }
        }
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            part[c][s] = vf_fma(K(minima_float)(type, sum[c]), neg_dmin, part[c][s]);
        }
    }
}

/* All terms of activation block `block`, before the activation scale. Meanwhile fetches 8 * n_ahead lines at
 * `ahead`. */
OX_INLINE void K(direct_block)(const int32_t type, const int32_t n_cols, const uint8_t *group, const ox_act_block *x,
                               int32_t block, int32_t n_subs, const uint8_t *ahead, const int32_t n_ahead,
                               vf part[][2]) {
    const ox_format f = ox_format_of(type);
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        part[c][0] = part[c][1] = vf_zero();
    }
    const uint8_t *tile = K(tile_at)(type, group, block, 0);
    vf d[2] = {K(load_d)(type, tile, 0), K(load_d)(type, tile, 1)};
    for (int32_t sub = 0; sub < n_subs; sub++) {
        if (f.block < OX_ACT_BLOCK) {
            tile = K(tile_at)(type, group, block, sub);
            d[0] = K(load_d)(type, tile, 0);
            d[1] = K(load_d)(type, tile, 1);
        }
        ox_fetch_lines(ahead + (size_t)(sub * n_ahead) * OX_LINE, n_ahead);
        K(direct_sub)(type, n_cols, tile, d, x, sub, part);
    }
    if (f.minima == OX_MIN_SUBTRACTED) {
        K(direct_minima)(type, n_cols, tile, x, part);
    }
}

/* One tile of tokens: the totals stay in registers. */
OX_INLINE void K(matmul_direct)(const int32_t type, const int32_t n_cols, const ox_matrix *w, int32_t group,
                                const ox_activations *x, float *out, size_t out_stride, int32_t accumulate) {
    const uint8_t *data = w->data + (size_t)group * w->group_bytes;
    const int32_t lines = ox_block_lines(type);
    const size_t ahead = (size_t)(OX_AHEAD_LINES + lines / 2) / (size_t)lines * (size_t)lines * OX_LINE;
    vf total[OX_DIRECT_COLS][2];
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        total[c][0] = total[c][1] = vf_zero();
    }
    for (int32_t block = 0; block * OX_ACT_BLOCK < w->k; block++) {
        const ox_act_block *tokens = ox_act_block_at(x, ox_format_of(type).act_sub, block, 0);
        vf part[OX_DIRECT_COLS][2];
        K(direct_block)(type, n_cols, data, tokens, block, ox_subs_of(w->k, block),
                        K(tile_at)(type, data, block, 0) + ahead, (lines + 7) / 8, part);
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            const vf scale = vf_set(tokens[c].scale);
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

/* One tile of tokens over one block: adds to totals[c][32]. */
OX_INLINE void K(direct_tile)(const int32_t type, const int32_t n_cols, const uint8_t *group, const ox_act_block *x,
                              int32_t block, int32_t n_subs, const uint8_t *ahead, int32_t n_ahead, float *totals) {
    vf part[OX_DIRECT_COLS][2];
    K(direct_block)(type, n_cols, group, x, block, n_subs, ahead, n_ahead, part);
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        OX_UNROLL
        for (int32_t s = 0; s < 2; s++) {
            float *total = totals + OX_GROUP_ROWS * c + 16 * s;
            vf_store(total, vf_fma(part[c][s], vf_set(x[c].scale), vf_load(total)));
        }
    }
}

OX_INLINE void K(matmul_tiles)(const int32_t type, const ox_matrix *w, int32_t group, const ox_activations *x,
                               int32_t n, float *out, size_t out_stride, int32_t accumulate, void *scratch) {
    const uint8_t *data = w->data + (size_t)group * w->group_bytes;
    float *totals = (float *)((uint8_t *)scratch + OX_PANEL_BYTES);
    const int32_t act_sub = ox_format_of(type).act_sub;
    const int32_t tiles = (n + OX_DIRECT_COLS - 1) / OX_DIRECT_COLS;
    const int32_t share = (ox_block_lines(type) + 8 * tiles - 1) / (8 * tiles);  /* of each sub-block of each tile */
    memset(totals, 0, (size_t)n * OX_GROUP_ROWS * sizeof *totals);
    for (int32_t block = 0; block * OX_ACT_BLOCK < w->k; block++) {
        const int32_t n_subs = ox_subs_of(w->k, block);
        const uint8_t *ahead = K(tile_at)(type, data, block + OX_AHEAD_BLOCKS, 0);
        for (int32_t t = 0, width; t < n; t += width, ahead += 8 * share * OX_LINE) {
            width = ox_tile_width(n - t, OX_DIRECT_COLS);
#define OX_TILE(cols)                                                                                                  \
    case cols:                                                                                                         \
        if (cols <= OX_DIRECT_COLS) {                                                                                  \
            K(direct_tile)(type, cols, data, ox_act_block_at(x, act_sub, block, t), block, n_subs, ahead, share,       \
                           totals + OX_GROUP_ROWS * t);                                                                \
        }                                                                                                              \
        break;
            switch (width) { OX_EACH_WIDTH(OX_TILE) }
#undef OX_TILE
        }
    }
    K(write_totals)(w, group * OX_GROUP_ROWS, totals, n, out, out_stride, accumulate);
}

#endif
