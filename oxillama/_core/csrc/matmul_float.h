/* Products with F32, F16 and BF16 weights: one chain of fused multiply-adds per output element, k ascending. */
#ifndef OX_MATMUL_FLOAT_H
#define OX_MATMUL_FLOAT_H

#include "matmul_shape.h"

/* k per panel: as float32 it takes 8 KiB, a quarter of the first-level cache, which the token rows need too */
enum { OX_FLOAT_PANEL = 64 };

OX_INLINE vf K(load_floats)(const int32_t type, const uint8_t *lines, int32_t k, const int32_t strip) {
    const size_t at = (size_t)k * OX_GROUP_ROWS + 16 * (size_t)strip;
    if (type == OX_F32) {
        return vf_load((const float *)lines + at);
    }
    return type == OX_F16 ? vf_load_f16((const uint16_t *)lines + at) : vf_load_bf16((const uint16_t *)lines + at);
}

/* total[c][s] continues over n_k values; x points at the first value of the first token. */
OX_INLINE void K(float_tile)(const int32_t type, const int32_t n_cols, const int32_t n_strips, const int32_t strip,
                             const uint8_t *lines, int32_t n_k, const float *x, size_t x_stride, vf total[][2]) {
    for (int32_t k = 0; k < n_k; k++) {
        vf weight[2];
        OX_UNROLL
        for (int32_t s = 0; s < n_strips; s++) {
            weight[s] = K(load_floats)(type, lines, k, strip + s);
        }
        OX_UNROLL
        for (int32_t c = 0; c < n_cols; c++) {
            const vf value = vf_set(x[(size_t)c * x_stride + (size_t)k]);
            OX_UNROLL
            for (int32_t s = 0; s < n_strips; s++) {
                total[c][s] = vf_fma(weight[s], value, total[c][s]);
            }
        }
    }
}

/* Few tokens: converts while it multiplies. */
OX_INLINE void K(float_direct)(const int32_t type, const int32_t n_cols, const ox_matrix *w, int32_t group,
                               const ox_activations *x, float *out, size_t out_stride, int32_t accumulate) {
    vf total[OX_DIRECT_COLS][2];
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        total[c][0] = total[c][1] = vf_zero();
    }
    K(float_tile)(type, n_cols, 2, 0, w->data + (size_t)group * w->group_bytes, w->k, x->values, x->value_stride, total);
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
OX_INLINE void K(float_panel_tile)(const int32_t n_cols, const int32_t strip, const float *panel, int32_t n_k,
                                   const float *x, size_t x_stride, float *totals) {
    vf total[OX_TILE_COLS][2];
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        OX_UNROLL
        for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
            total[c][s] = vf_load(totals + OX_GROUP_ROWS * c + 16 * (strip + s));
        }
    }
    K(float_tile)(OX_F32, n_cols, OX_TILE_STRIPS, strip, (const uint8_t *)panel, n_k, x, x_stride, total);
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        OX_UNROLL
        for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
            vf_store(totals + OX_GROUP_ROWS * c + 16 * (strip + s), total[c][s]);
        }
    }
}

static void K(float_panel)(const float *panel, int32_t n_k, const float *x, size_t x_stride, int32_t n, float *totals) {
    for (int32_t strip = 0; strip < 2; strip += OX_TILE_STRIPS) {
        for (int32_t t = 0, width; t < n; t += width) {
            width = ox_tile_width(n - t, OX_TILE_COLS);
#define OX_TILE(cols) \
    case cols: \
        if (cols <= OX_TILE_COLS) { \
            K(float_panel_tile)(cols, strip, panel, n_k, x + (size_t)t * x_stride, x_stride, \
                                totals + OX_GROUP_ROWS * t); \
        } \
        break;
            switch (width) { OX_EACH_WIDTH(OX_TILE) }
#undef OX_TILE
        }
    }
}

OX_INLINE void K(float_many)(const int32_t type, const ox_matrix *w, int32_t group, const ox_activations *x, int32_t n,
                             float *out, size_t out_stride, int32_t accumulate, void *scratch) {
    const uint8_t *lines = w->data + (size_t)group * w->group_bytes;
    float *converted = scratch;
    float *totals = (float *)((uint8_t *)scratch + OX_PANEL_BYTES);
    memset(totals, 0, (size_t)n * OX_GROUP_ROWS * sizeof *totals);
    for (int32_t k0 = 0; k0 < w->k; k0 += OX_FLOAT_PANEL) {
        const int32_t n_k = w->k - k0 < OX_FLOAT_PANEL ? w->k - k0 : OX_FLOAT_PANEL;
        const float *panel = converted;
        if (type == OX_F32) {
            panel = (const float *)lines + (size_t)k0 * OX_GROUP_ROWS;
        } else {
            for (int32_t k = 0; k < n_k; k++) {
                vf_store(converted + OX_GROUP_ROWS * k, K(load_floats)(type, lines, k0 + k, 0));
                vf_store(converted + OX_GROUP_ROWS * k + 16, K(load_floats)(type, lines, k0 + k, 1));
            }
        }
        K(float_panel)(panel, n_k, x->values + k0, x->value_stride, n, totals);
    }
    K(write_totals)(w, group * OX_GROUP_ROWS, totals, n, out, out_stride, accumulate);
}

#endif
