/* Products of many tokens: 32 rows x 256 k are unpacked to bytes once, and stay in the first-level cache while register
 * tiles walk over the tokens. The terms and their order are those of matmul_direct.h, so the bits are too. */
#ifndef OX_MATMUL_PANEL_H
#define OX_MATMUL_PANEL_H

#include "matmul_codes.h"

/* One register tile over one activation block: adds to totals[c][32] of n_cols tokens; x: the block of the first.
 * Meanwhile fetches `n_ahead` lines at `ahead` with each sub-block: many at once would wait for each other. */
OX_INLINE void K(panel_tile)(const int32_t type, const int32_t n_cols, const int32_t strip, const ox_panel *panel,
                             const ox_act_block *x, int32_t n_subs, const uint8_t *ahead, int32_t n_ahead,
                             float *totals) {
    const ox_format f = ox_format_of(type);
    const int32_t halves = 32 / f.sub;
    const int32_t quads = OX_QUADS / halves;
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
        for (int32_t q = 0; q < quads; q++) {
            OX_UNROLL
            for (int32_t c = 0; c < n_cols; c++) {
                const vq x_quad = vq_load(x[c].quants + f.sub * index + 4 * q);
                OX_UNROLL
                for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
                    const vb line = vb_load(lines + (2 * (quads * index + q) + s) * OX_LINE);
                    sum[c][s] = va_dot(bits, sum[c][s], line, x_quad);
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
            if (f.minima == OX_ADDED_MIN) {
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
        if (f.minima == OX_SUBTRACTED_MIN) {
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
            if (f.minima == OX_SUBTRACTED_MIN) {
                part[c][s] = vf_fma(K(minima_float)(type, minimum[c]), vf_load(panel->neg_dmin + 16 * (strip + s)), part[c][s]);
            }
            float *total = totals + OX_GROUP_ROWS * c + 16 * (strip + s);
            vf_store(total, vf_fma(part[c][s], vf_set(x[c].scale), vf_load(total)));
        }
    }
}

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
        K(unpack_panel)(type, data, block, n_subs, panel);
        for (int32_t t = 0, width; t < n; t += width) {
            width = ox_tile_width(n - t, OX_TILE_COLS);
            /* The activations of a tile come from the second-level cache once for both strips. */
            for (int32_t strip = 0; strip < 2; strip += OX_TILE_STRIPS, ahead += 8 * halves * share * OX_LINE) {
                const int32_t n_ahead = ahead < end ? share : 0;
#define OX_TILE(cols) \
    case cols: \
        if (cols <= OX_TILE_COLS) { \
            K(panel_tile)(type, cols, strip, panel, ox_act_block_at(x, act_sub, block, t), n_subs, ahead, n_ahead, \
                          totals + OX_GROUP_ROWS * t); \
        } \
        break;
                switch (width) { OX_EACH_WIDTH(OX_TILE) }
#undef OX_TILE
            }
        }
    }
    K(write_totals)(w, group * OX_GROUP_ROWS, totals, n, out, out_stride, accumulate);
}

#endif
