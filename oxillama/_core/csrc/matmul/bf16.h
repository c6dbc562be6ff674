/* Products with BF16 weights where the level multiplies pairs of bfloat16: activations are rounded to bfloat16, to the
 * nearest, ties to even, and per pair of k, ascending,
 *
 *   total = total + w[k + 1] * x[k + 1], then total = total + w[k] * x[k]
 *
 * with one rounding each, subnormal operands and results counting as zero (Intel SDM, VDPBF16PS). A row of odd length
 * ends with a pair whose second half is zero. */
#ifndef OX_MATMUL_BF16_H
#define OX_MATMUL_BF16_H

#include "matmul/shape.h"

/* k that all tiles of tokens pass over before the next ones; divides OX_ACT_BLOCK. */
enum { OX_BF16_PANEL = OX_AHEAD_LINES * OX_LINE / (2 * OX_GROUP_ROWS) };

static void K(round_row)(const ox_activations *x, int32_t row) {
    const float *values = x->values + (size_t)row * x->value_stride;
    for (int32_t block = 0; block * OX_ACT_BLOCK < x->k; block++) {
        const int32_t left = x->k - block * OX_ACT_BLOCK;
        uint16_t *to = ox_rounded_at(x, block, row);
        for (int32_t i = 0; i < OX_ACT_BLOCK; i += 16) {
            vf_store_bf16(to + i, i < left ? vf_load_n(values + block * OX_ACT_BLOCK + i, left - i) : vf_zero());
        }
    }
}

/* total[c][s] continues over n_pairs pairs of k; x: the first of the first token. Meanwhile fetches what lies at
 * `ahead`, one address of every `step` bytes per 64 bytes multiplied. */
OX_INLINE void K(bf16_tile)(const int32_t n_cols, const uint8_t *lines, int32_t n_pairs, const uint16_t *x,
                            const uint8_t *ahead, size_t step, vf total[][2]) {
    for (int32_t pair = 0; pair < n_pairs; pair++) {
        const vb first = vb_load(lines + (size_t)pair * 2 * OX_LINE);
        const vb second = vb_load(lines + (size_t)pair * 2 * OX_LINE + OX_LINE);
        __builtin_prefetch(ahead + (size_t)(2 * pair) * step);
        __builtin_prefetch(ahead + (size_t)(2 * pair + 1) * step);
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            const vq values = vq_load(x + c * OX_ACT_BLOCK + 2 * pair);
            total[c][0] = vf_dot_bf16(total[c][0], first, values);
            total[c][1] = vf_dot_bf16(total[c][1], second, values);
        }
    }
}

OX_INLINE void K(bf16_direct)(const int32_t type, const int32_t n_cols, const ox_matrix *w, int32_t group,
                              const ox_activations *x, float *out, size_t out_stride, int32_t accumulate) {
    (void)type;
    const uint8_t *lines = w->data + (size_t)group * w->group_bytes;
    vf total[OX_DIRECT_COLS][2];
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        total[c][0] = total[c][1] = vf_zero();
    }
    for (int32_t k0 = 0; k0 < w->k; k0 += OX_ACT_BLOCK, lines += (size_t)OX_ACT_BLOCK * OX_LINE) {
        const int32_t left = (w->k - k0 + 1) / 2;
        const int32_t n_pairs = left < OX_ACT_BLOCK / 2 ? left : OX_ACT_BLOCK / 2;
        K(bf16_tile)(n_cols, lines, n_pairs, ox_rounded_at(x, k0 / OX_ACT_BLOCK, 0), lines + OX_AHEAD_LINES * OX_LINE,
                     OX_LINE, total);
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

/* One register tile over one panel; the totals rest in memory between panels. */
OX_INLINE void K(bf16_panel_tile)(const int32_t n_cols, const uint8_t *lines, int32_t n_pairs, const uint16_t *x,
                                  const uint8_t *ahead, size_t step, float *totals) {
    vf total[OX_DIRECT_COLS][2];
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        total[c][0] = vf_load(totals + OX_GROUP_ROWS * c);
        total[c][1] = vf_load(totals + OX_GROUP_ROWS * c + 16);
    }
    K(bf16_tile)(n_cols, lines, n_pairs, x, ahead, step, total);
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        vf_store(totals + OX_GROUP_ROWS * c, total[c][0]);
        vf_store(totals + OX_GROUP_ROWS * c + 16, total[c][1]);
    }
}

OX_INLINE void K(bf16_many)(const int32_t type, const ox_matrix *w, int32_t group, const ox_activations *x, int32_t n,
                            float *out, size_t out_stride, int32_t accumulate, void *scratch) {
    (void)type;
    const uint8_t *lines = w->data + (size_t)group * w->group_bytes;
    const size_t panel_bytes = (size_t)OX_BF16_PANEL * OX_LINE;
    const size_t step = OX_LINE / (size_t)((n + OX_DIRECT_COLS - 1) / OX_DIRECT_COLS);
    float *totals = (float *)((uint8_t *)scratch + OX_PANEL_BYTES);
    memset(totals, 0, (size_t)n * OX_GROUP_ROWS * sizeof *totals);
    for (int32_t k0 = 0; k0 < w->k; k0 += OX_BF16_PANEL, lines += panel_bytes) {
        const int32_t left = (w->k - k0 + 1) / 2;
        const int32_t n_pairs = left < OX_BF16_PANEL / 2 ? left : OX_BF16_PANEL / 2;
        const uint16_t *tokens = ox_rounded_at(x, k0 / OX_ACT_BLOCK, 0) + k0 % OX_ACT_BLOCK;
        const uint8_t *ahead = lines + panel_bytes;
        for (int32_t t = 0, width; t < n; t += width, ahead += (size_t)n_pairs * 2 * step) {
            width = ox_tile_width(n - t, OX_DIRECT_COLS);
#define OX_TILE(cols)                                                                                                  \
    case cols:                                                                                                         \
        if (cols <= OX_DIRECT_COLS) {                                                                                  \
            K(bf16_panel_tile)(cols, lines, n_pairs, tokens + (size_t)t * OX_ACT_BLOCK, ahead, step,                   \
                               totals + OX_GROUP_ROWS * t);                                                            \
        }                                                                                                              \
        break;
            switch (width) { OX_EACH_WIDTH(OX_TILE) }
#undef OX_TILE
        }
    }
    K(write_totals)(w, group * OX_GROUP_ROWS, totals, n, out, out_stride, accumulate);
}

#endif
