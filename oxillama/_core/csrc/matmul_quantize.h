/* Activations to int8: one scale per 256 values, and the sums that the products begin with. */
#ifndef OX_MATMUL_QUANTIZE_H
#define OX_MATMUL_QUANTIZE_H

#include "blocks.h"

/* The largest magnitude, as float bits: their integer order keeps an infinity or a NaN on top. */
OX_INLINE int32_t ox_largest_bits(const float *x, int32_t n) {
    int32_t largest = 0;
    for (int32_t i = 0; i < n; i++) {
        int32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

OX_INLINE void K(sum_quants)(ox_act_block *block) {
    for (int32_t i = 0; i < OX_ACT_BLOCK / 32; i++) {
        int32_t sum[2] = {0, 0};
        for (int32_t lane = 0; lane < 16; lane++) {
            sum[0] += block->quants[32 * i + lane];
            sum[1] += block->quants[32 * i + 16 + lane];
        }
        block->neg_sums16[2 * i] = -sum[0];
        block->neg_sums16[2 * i + 1] = -sum[1];
        block->neg_sums32[i] = -(sum[0] + sum[1]);
        block->sums32[i] = (int16_t)(sum[0] + sum[1]);
    }
}

/* quant = x * (127 / max |x|), to the nearest, ties to even. A block with an infinity or a NaN gets the scale NaN, so that
 * every result says so; one too small to be inverted counts as zero. */
static void K(quantize_blocks)(const ox_activations *x, int32_t row) {
    const float *values = x->values + (size_t)row * x->value_stride;
    for (int32_t block = 0; block * OX_ACT_BLOCK < x->k; block++) {
        const int32_t first = block * OX_ACT_BLOCK;
        const int32_t n = x->k - first < OX_ACT_BLOCK ? x->k - first : OX_ACT_BLOCK;
        const int32_t bits = ox_largest_bits(values + first, n);
        const float largest = ox_bits_float((uint32_t)bits);
        const int32_t finite = bits < 0x7f800000;
        const int32_t usable = finite && largest > 0x1p-119f;  /* 127 / largest is finite */
        const float inverse = usable ? 127.0f / largest : 0.0f;
        ox_act_block *to = ox_act_block_at(x, block, row);
        to->scale = usable ? largest / 127.0f : finite ? 0.0f : ox_bits_float(0x7fc00000u);
        for (int32_t i = 0; i < n; i += 16) {
            const vf scaled = vf_mul(vf_load_n(values + first + i, n - i), vf_set(inverse));
            float rounded[16];
            vf_store(rounded, vf_round(scaled));
            for (int32_t lane = 0; lane < 16; lane++) {
                to->quants[i + lane] = usable ? (int8_t)(int32_t)rounded[lane] : 0;
            }
        }
        memset(to->quants + (n + 15) / 16 * 16, 0, (size_t)(OX_ACT_BLOCK - (n + 15) / 16 * 16));
        K(sum_quants)(to);
    }
}

#endif
