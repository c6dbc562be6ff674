/* Products of many tokens: 32 rows x 256 k are unpacked to bytes once, and stay in the first-level cache while register
 * tiles walk over the tokens. The terms and their order are those of matmul/direct.h, so the bits are too. */
#ifndef OX_MATMUL_PANEL_H
#define OX_MATMUL_PANEL_H

#include "matmul/codes.h"

/* One register tile over one activation block: adds to totals[c][32] of n_cols tokens; x: the block of the first.
 * Meanwhile fetches `n_ahead` lines at `ahead` with each sub-block: many at once would wait for each other. */
OX_INLINE void K(panel_tile)(const int32_t type, const int32_t n_cols, const int32_t strip, const ox_panel *panel,
                             const ox_act_block *x, int32_t n_subs, const uint8_t *ahead, int32_t n_ahead,
                             float *totals) {
    const ox_format f = ox_format_of(type);
    const int32_t halves = 32 / f.sub;
    const int32_t words = OX_WORDS / halves;
    const int32_t bits = ox_factor_bits(type);
    const int32_t offset = ox_stored_offset(type);
    const uint8_t *lines = panel->codes + strip * OX_LINE;
    vf part[OX_TILE_COLS][OX_TILE_STRIPS];
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        OX_UNROLL
        for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
            part[c][s] = vf_zero();
        }
    }
    for (int32_t index = 0; index < n_subs * halves; index++) {
        ox_fetch_lines(ahead + (size_t)(index * n_ahead) * OX_LINE, n_ahead);
        va sum[OX_TILE_COLS][OX_TILE_STRIPS];
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            OX_UNROLL
            for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
                sum[c][s] = va_begin(bits, offset, K(neg_sum)(type, &x[c], index));
            }
        }
        OX_UNROLL
        for (int32_t q = 0; q < words; q++) {
            OX_UNROLL
            for (int32_t c = 0; c < n_cols; c++) {
                const vq x_word = vq_load(x[c].quants + f.sub * index + 4 * q);
                OX_UNROLL
                for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
                    const vb line = vb_load(lines + (2 * (words * index + q) + s) * OX_LINE);
                    sum[c][s] = va_dot(bits, sum[c][s], line, x_word);
                }
            }
        }
        OX_UNROLL
        for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
            const vf scale = vf_load(panel->scales[index] + 16 * (strip + s));
            OX_UNROLL
            for (int32_t c = 0; c < n_cols; c++) {
                const vi products = va_end(bits, offset, sum[c][s], K(neg_sum)(type, &x[c], index));
                part[c][s] = vf_fma(K(products_float)(type, products, &x[c], index / halves), scale, part[c][s]);
            }
            if (f.minima == OX_MIN_ADDED) {
                const vf m = vf_load(panel->added[index] + 16 * (strip + s));
                OX_UNROLL
                for (int32_t c = 0; c < n_cols; c++) {
                    part[c][s] = vf_fma(vf_set(x[c].scaled_sums32[index]), m, part[c][s]);
                }
            }
        }
    }
    OX_UNROLL
    for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
        vi minimum[OX_TILE_COLS];
        if (f.minima == OX_MIN_SUBTRACTED) {
            OX_UNROLL
            for (int32_t step = 0; step < ox_minima_steps(type); step++) {
                const vw minima = K(load_minima)(type, panel->minima, step, strip + s);
                OX_UNROLL
                for (int32_t c = 0; c < n_cols; c++) {
                    const vq minima_sums = K(load_minima_sums)(type, &x[c], step);
                    minimum[c] = vi_dot_words(step == 0 ? vi_set(0) : minimum[c], minima, minima_sums);
                }
            }
        }
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            if (f.minima == OX_MIN_SUBTRACTED) {
                part[c][s] = vf_fma(K(minima_float)(type, minimum[c]), vf_load(panel->neg_dmin + 16 * (strip + s)),
                                    part[c][s]);
            }
            float *total = totals + OX_GROUP_ROWS * c + 16 * (strip + s);
            vf_store(total, vf_fma(part[c][s], vf_set(x[c].scale), vf_load(total)));
        }
    }
}

/* A type that has the same panels: sub-blocks, minima, factors and activations. Types that differ only in how they keep
 * their codes share the products of panels, which are most of the compiler's work. */
OX_INLINE int32_t ox_panel_of(const int32_t type) {
    switch (type) {
        case OX_IQ2_XXS:
        case OX_IQ3_XXS:
        case OX_IQ4_XS: return OX_Q8_0;
        case OX_IQ2_S: return OX_IQ2_XS;
        case OX_IQ1_M: return OX_NVFP4;
        case OX_IQ1_S: return OX_Q4_K;
        case OX_TQ1_0:
        case OX_TQ2_0: return OX_IQ3_S;
        case OX_MXFP4:
        case OX_Q1_0:
        case OX_Q2_0: return OX_Q5_0;
        default: return type;
    }
}

/* All tokens over one panel; x: the activation block of the first. Meanwhile fetches from `ahead` to `end`, `share`
 * lines per sub-block of a tile. */
OX_INLINE void K(panel_tiles)(const int32_t type, const ox_panel *panel, const ox_act_block *x, int32_t n,
                              int32_t n_subs, const uint8_t *ahead, const uint8_t *end, int32_t share, float *totals) {
    const int32_t halves = 32 / ox_format_of(type).sub;
    for (int32_t t = 0, width; t < n; t += width) {
        width = ox_tile_width(n - t, OX_TILE_COLS);
        /* The activations of a tile come from the second-level cache once for both strips. */
        for (int32_t strip = 0; strip < 2; strip += OX_TILE_STRIPS, ahead += 8 * halves * share * OX_LINE) {
            const int32_t n_ahead = ahead < end ? share : 0;
#define OX_TILE(cols)                                                                                                  \
    case cols:                                                                                                         \
        if (cols <= OX_TILE_COLS) {                                                                                    \
            K(panel_tile)(type, cols, strip, panel, x + t, n_subs, ahead, n_ahead, totals + OX_GROUP_ROWS * t);        \
        }                                                                                                              \
        break;
            switch (width) { OX_EACH_WIDTH(OX_TILE) }
#undef OX_TILE
        }
    }
}

#define OX_ROW(name, ...)                                                                                              \
    static __attribute__((noinline)) void K(panel_tiles_##name)(                                                       \
        const ox_panel *panel, const ox_act_block *x, int32_t n, int32_t n_subs, const uint8_t *ahead,                 \
        const uint8_t *end, int32_t share, float *totals) {                                                            \
        if (ox_panel_of(OX_##name) == OX_##name) {                                                                     \
            K(panel_tiles)(OX_##name, panel, x, n, n_subs, ahead, end, share, totals);                                 \
        }                                                                                                              \
    }
OX_INT_TYPES(OX_ROW)
#undef OX_ROW

OX_INLINE void K(matmul_panel)(const int32_t type, const ox_matrix *w, int32_t group, const ox_activations *x,
                               int32_t n, float *out, size_t out_stride, int32_t accumulate, void *scratch) {
    const uint8_t *data = w->data + (size_t)group * w->group_bytes;
    ox_panel *panel = scratch;
    float *totals = (float *)((uint8_t *)scratch + OX_PANEL_BYTES);
    const int32_t act_sub = ox_format_of(type).act_sub;
    const int32_t halves = 32 / ox_format_of(type).sub;
    const int32_t tiles = (n + OX_TILE_COLS - 1) / OX_TILE_COLS * (2 / OX_TILE_STRIPS);
    const int32_t share = (ox_block_lines(type) + 8 * halves * tiles - 1) / (8 * halves * tiles);
    memset(totals, 0, (size_t)n * OX_GROUP_ROWS * sizeof *totals);
    for (int32_t block = 0; block * OX_ACT_BLOCK < w->k; block++) {
        const int32_t n_subs = ox_subs_of(w->k, block);
        const uint8_t *ahead = K(tile_at)(type, data, block + OX_AHEAD_BLOCKS, 0);
        const uint8_t *end = K(tile_at)(type, data, block + OX_AHEAD_BLOCKS + 1, 0);
        const ox_act_block *tokens = ox_act_block_at(x, act_sub, block, 0);
        K(unpack_panel)(type, data, block, n_subs, panel);
        switch (ox_panel_of(type)) {
#define OX_ROW(name, ...) \
    case OX_##name: K(panel_tiles_##name)(panel, tokens, n, n_subs, ahead, end, share, totals); break;
            OX_INT_TYPES(OX_ROW)
#undef OX_ROW
            default: break;
        }
    }
    K(write_totals)(w, group * OX_GROUP_ROWS, totals, n, out, out_stride, accumulate);
}

#endif
