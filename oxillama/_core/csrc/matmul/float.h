/* Products with F32, F16 and BF16 weights: one chain of fused multiply-adds per output element, k ascending. */
#ifndef OX_MATMUL_FLOAT_H
#define OX_MATMUL_FLOAT_H

#include "matmul/shape.h"

/* Weights that all tiles of tokens pass over before the next ones are read: a part of the first-level cache, which the
 * token rows need too. */
enum { OX_FLOAT_PANEL_BYTES = OX_AHEAD_LINES * OX_LINE };

/* Is widening a float16 line for every tile cheaper than widening a panel once? */
#if defined(OX_HAS_AVX512)
enum { OX_WIDENS_IN_REGISTERS = 1 };
#else
enum { OX_WIDENS_IN_REGISTERS = 0 };
#endif

OX_INLINE vf K(load_floats)(const int32_t type, const uint8_t *lines, int32_t k, const int32_t strip) {
    const size_t at = (size_t)k * OX_GROUP_ROWS + 16 * (size_t)strip;
    if (type == OX_F32) {
        return vf_load((const float *)lines + at);
    }
    return type == OX_F16 ? vf_load_f16((const uint16_t *)lines + at) : vf_load_bf16((const uint16_t *)lines + at);
}

/* total[c][s] continues over n_k values; x points at the first value of the first token. Meanwhile fetches what lies at
 * `ahead`, one address of every `step` bytes per 64 bytes multiplied. */
OX_INLINE void K(float_tile)(const int32_t type, const int32_t n_cols, const int32_t n_strips, const int32_t strip,
                             const uint8_t *lines, int32_t n_k, const float *x, size_t x_stride, const uint8_t *ahead,
                             size_t step, vf total[][2]) {
    const int32_t fetches = (int32_t)ox_float_bytes(type) * OX_GROUP_ROWS / OX_LINE;
    for (int32_t k = 0; k < n_k; k++) {
        OX_UNROLL
        for (int32_t i = 0; i < fetches; i++) {
            __builtin_prefetch(ahead + (size_t)(k * fetches + i) * step);
        }
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

/* Few tokens: one ascending pass, the totals stay in registers. */
OX_INLINE void K(float_direct)(const int32_t type, const int32_t n_cols, const ox_matrix *w, int32_t group,
                               const ox_activations *x, float *out, size_t out_stride, int32_t accumulate) {
    const uint8_t *lines = w->data + (size_t)group * w->group_bytes;
    vf total[OX_DIRECT_COLS][2];
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        total[c][0] = total[c][1] = vf_zero();
    }
    K(float_tile)(type, n_cols, 2, 0, lines, w->k, x->values, x->value_stride, lines + OX_FLOAT_PANEL_BYTES, OX_LINE,
                  total);
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
OX_INLINE void K(float_panel_tile)(const int32_t type, const int32_t n_cols, const int32_t strip, const uint8_t *panel,
                                   int32_t n_k, const float *x, size_t x_stride, const uint8_t *ahead, size_t step,
                                   float *totals) {
    vf total[OX_TILE_COLS][2];
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        OX_UNROLL
        for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
            total[c][s] = vf_load(totals + OX_GROUP_ROWS * c + 16 * (strip + s));
        }
    }
    K(float_tile)(type, n_cols, OX_TILE_STRIPS, strip, panel, n_k, x, x_stride, ahead, step, total);
    OX_UNROLL
    for (int32_t c = 0; c < n_cols; c++) {
        OX_UNROLL
        for (int32_t s = 0; s < OX_TILE_STRIPS; s++) {
            vf_store(totals + OX_GROUP_ROWS * c + 16 * (strip + s), total[c][s]);
        }
    }
}

/* All tiles of tokens over one panel of `type`; together they fetch n_k * 64 bytes at `ahead`. */
OX_INLINE void K(float_panel)(const int32_t type, const uint8_t *panel, int32_t n_k, const float *x, size_t x_stride,
                              int32_t n, const uint8_t *ahead, float *totals) {
    const int32_t tiles = (n + OX_TILE_COLS - 1) / OX_TILE_COLS * (2 / OX_TILE_STRIPS);
    const size_t step = OX_LINE / (size_t)tiles;
    for (int32_t strip = 0; strip < 2; strip += OX_TILE_STRIPS) {
        for (int32_t t = 0, width; t < n; t += width) {
            width = ox_tile_width(n - t, OX_TILE_COLS);
#define OX_TILE(cols)                                                                                                  \
    case cols:                                                                                                         \
        if (cols <= OX_TILE_COLS) {                                                                                    \
            K(float_panel_tile)(type, cols, strip, panel, n_k, x + (size_t)t * x_stride, x_stride, ahead, step,        \
                                totals + OX_GROUP_ROWS * t);                                                           \
        }                                                                                                              \
        break;
            switch (width) { OX_EACH_WIDTH(OX_TILE) }
#undef OX_TILE
            ahead += (size_t)n_k * step * (ox_float_bytes(type) * OX_GROUP_ROWS / OX_LINE);
        }
    }
}

OX_INLINE void K(float_many)(const int32_t type, const ox_matrix *w, int32_t group, const ox_activations *x, int32_t n,
                             float *out, size_t out_stride, int32_t accumulate, void *scratch) {
    const int32_t multiplied = OX_WIDENS_IN_REGISTERS ? type : OX_F32;
    const int32_t panel_k = OX_FLOAT_PANEL_BYTES / OX_GROUP_ROWS / (int32_t)ox_float_bytes(multiplied);
    const size_t k_bytes = OX_GROUP_ROWS * ox_float_bytes(type);
    const uint8_t *lines = w->data + (size_t)group * w->group_bytes;
    float *widened = scratch;
    float *totals = (float *)((uint8_t *)scratch + OX_PANEL_BYTES);
    memset(totals, 0, (size_t)n * OX_GROUP_ROWS * sizeof *totals);
    for (int32_t k0 = 0; k0 < w->k; k0 += panel_k, lines += (size_t)panel_k * k_bytes) {
        const int32_t n_k = w->k - k0 < panel_k ? w->k - k0 : panel_k;
        const uint8_t *panel = lines;
        if (type != multiplied) {
            for (int32_t k = 0; k < n_k; k++) {
                vf_store(widened + OX_GROUP_ROWS * k, K(load_floats)(type, lines, k, 0));
                vf_store(widened + OX_GROUP_ROWS * k + 16, K(load_floats)(type, lines, k, 1));
            }
            panel = (const uint8_t *)widened;
        }
        K(float_panel)(multiplied, panel, n_k, x->values + k0, x->value_stride, n, lines + (size_t)panel_k * k_bytes,
                       totals);
    }
    K(write_totals)(w, group * OX_GROUP_ROWS, totals, n, out, out_stride, accumulate);
}

#endif
