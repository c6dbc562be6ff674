/* Activations to int8: one scale per 256 or 32 values, and the sums that the products begin with. */
#ifndef OX_MATMUL_QUANTIZE_H
#define OX_MATMUL_QUANTIZE_H

#include "pack/blocks.h"
#include "vec/int.h"

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

OX_INLINE void K(sum_quants)(const int32_t act_sub, ox_act_block *block) {
    for (int32_t i = 0; i < OX_ACT_BLOCK / 32; i++) {
        const vn first = vn_load(block->quants + 32 * i);
        const vn second = vn_load(block->quants + 32 * i + 16);
        block->neg_sums32[i] = vn_word(vn_add(first, second));
        const int32_t sum = -vn_total(block->neg_sums32[i]);
        block->sums32[i] = (int16_t)sum;
        if (act_sub == 32) {
            block->scaled_sums32[i] = (float)sum * block->scales32[i];
        } else {
            block->neg_sums16[2 * i] = vn_word(first);
            block->neg_sums16[2 * i + 1] = vn_word(second);
        }
    }
}

/* quant = x * (127 / max |x|), to the nearest, ties to even, for n values that share a scale, which is returned. With
 * an infinity or a NaN among them it is NaN, so that every result says so; one too small to be inverted counts as
 * zero. `quants` has room for n rounded up to 16. */
OX_INLINE float K(quantize_run)(const float *values, int32_t n, int8_t *quants) {
    const int32_t bits = ox_largest_bits(values, n);
    const float largest = ox_bits_float((uint32_t)bits);
    const int32_t finite = bits < 0x7f800000;
    const int32_t usable = finite && largest > 0x1p-119f;  /* 127 / largest is finite */
    const vf inverse = vf_set(usable ? 127.0f / largest : 0.0f);
    for (int32_t i = 0; i < n; i += 16) {
        const vf scaled = vf_mul(vf_load_n(values + i, n - i), inverse);
        vf_store_i8(quants + i, usable ? vf_round(scaled) : vf_zero());
    }
    return usable ? largest / 127.0f : finite ? 0.0f : ox_bits_float(0x7fc00000u);
}

OX_INLINE void K(quantize_blocks)(const ox_activations *x, const int32_t act_sub, int32_t row) {
    const float *values = x->values + (size_t)row * x->value_stride;
    for (int32_t block = 0; block * OX_ACT_BLOCK < x->k; block++, values += OX_ACT_BLOCK) {
        const int32_t left = x->k - block * OX_ACT_BLOCK;
        const int32_t n = left < OX_ACT_BLOCK ? left : OX_ACT_BLOCK;
        ox_act_block *to = ox_act_block_at(x, act_sub, block, row);
        memset(to->quants + n, 0, (size_t)(OX_ACT_BLOCK - n));
        if (act_sub == 32) {
            for (int32_t i = 0; i < OX_ACT_BLOCK; i += 32) {
                to->scales32[i / 32] = K(quantize_run)(values + i, n - i < 32 ? n - i : 32, to->quants + i);
            }
            to->scale = 1.0f;
        } else {
            to->scale = K(quantize_run)(values, n, to->quants);
        }
        K(sum_quants)(act_sub, to);
    }
}

#endif
