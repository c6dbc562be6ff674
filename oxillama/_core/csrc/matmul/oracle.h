/* One element of a matrix product in plain C: from the file's own blocks and the same int8 activations, in the order
 * that docs/design/kernels.md fixes. Every vector level must give exactly these bits; `fused` says whether it has
 * FMA. */
#ifndef OX_MATMUL_ORACLE_H
#define OX_MATMUL_ORACLE_H

#include <math.h>

#include "pack/blocks.h"
#include "kernels.h"

static inline float ox_oracle_step(int32_t fused, float x, float y, float z) {
    return fused ? fmaf(x, y, z) : x * y + z;
}

/* The terms of `n` consecutive values (the blocks of one activation block). */
static inline float ox_oracle_block(int32_t type, int32_t fused, int32_t n, const uint8_t *blocks,
                                  const ox_act_block *x) {
    const ox_format f = ox_format_of(type);
    float part = 0.0f;
    for (int32_t i = 0; i < n; i += f.block, blocks += f.block_bytes) {
        ox_codes codes;
        ox_decode_block(type, blocks, &codes);
        const float m = ox_block_min(&f, &codes);
        int32_t minima = 0;
        for (int32_t s = 0; s < f.block / f.sub; s++) {
            int32_t products = 0;
            int32_t sum = 0;
            for (int32_t lane = 0; lane < f.sub; lane++) {
                const int32_t quant = x->quants[i + s * f.sub + lane];
                products += ox_code_value(&f, codes.code[s * f.sub + lane]) * quant;
                sum += quant;
            }
            const float scale = f.act_sub == 32 ? x->scales32[(i + s * f.sub) / 32] : 1.0f;
            part = ox_oracle_step(fused, (float)products * scale, ox_sub_scale(&f, &codes, s), part);
            if (f.minima == OX_MIN_ADDED) {
                part = ox_oracle_step(fused, (float)sum * scale, m, part);
            } else if (f.minima == OX_MIN_SUBTRACTED) {
                minima += codes.min[s] * sum;
            }
        }
        if (f.minima == OX_MIN_SUBTRACTED) {
            part = ox_oracle_step(fused, (float)minima, -m, part);
        }
    }
    return part;
}

static inline float ox_oracle_normal(float x) {
    return ox_bits_float(ox_float_bits(x) & ((ox_float_bits(x) & 0x7f800000u) ? 0xffffffffu : 0x80000000u));
}
static inline float ox_oracle_bf16_step(uint16_t x, uint16_t y, float z) {
    const float a = ox_oracle_normal(ox_bf16_to_f32(x)), b = ox_oracle_normal(ox_bf16_to_f32(y));
    return ox_oracle_normal(fmaf(a, b, ox_oracle_normal(z)));
}

/* The same with activations rounded to bfloat16, see matmul/bf16.h. */
static inline float ox_oracle_dot_bf16(const uint8_t *row, const ox_activations *x, int32_t token) {
    float total = 0.0f;
    for (int32_t i = 0; i < x->k; i += 2) {
        const uint16_t *values = ox_rounded_at(x, i / OX_ACT_BLOCK, token) + i % OX_ACT_BLOCK;
        const uint16_t second = i + 1 < x->k ? ox_read_u16(row + 2 * (size_t)(i + 1)) : 0;
        total = ox_oracle_bf16_step(second, values[1], total);
        total = ox_oracle_bf16_step(ox_read_u16(row + 2 * (size_t)i), values[0], total);
    }
    return total;
}

/* row: one row of the file. */
static inline float ox_oracle_dot(int32_t type, int32_t fused, const uint8_t *row, const ox_activations *x,
                                int32_t token) {
    const ox_format f = ox_format_of(type);
    float total = 0.0f;
    if (f.bits == 0) {
        const float *values = x->values + (size_t)token * x->value_stride;
        for (int32_t i = 0; i < x->k; i++) {
            float weight;
            ox_dequantize_block(type, row + (size_t)i * (size_t)f.block_bytes, &weight);
            total = ox_oracle_step(fused, weight, values[i], total);
        }
        return total;
    }
    for (int32_t block = 0; block * OX_ACT_BLOCK < x->k; block++) {
        const int32_t left = x->k - block * OX_ACT_BLOCK;
        const ox_act_block *activations = ox_act_block_at(x, f.act_sub, block, token);
        const size_t first = (size_t)(block * OX_ACT_BLOCK / f.block) * (size_t)f.block_bytes;
        const float part = ox_oracle_block(type, fused, left < OX_ACT_BLOCK ? left : OX_ACT_BLOCK, row + first,
                                         activations);
        total = ox_oracle_step(fused, part, activations->scale, total);
    }
    return total;
}

#endif
