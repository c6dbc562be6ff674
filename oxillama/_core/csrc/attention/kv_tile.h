/* Reading a tile of 32 keys or values of one KV head. Every value of every type is read as float32 exactly, so it is
the
 * same whether it is widened in a register or beforehand. */
#ifndef OX_KV_TILE_H
#define OX_KV_TILE_H

#include "attention/kv_layout.h"

/* One tile of K or of V: the values, for q8_0 the scales as float32, and what will be read next. */
typedef struct K(kv_tile) {
    const uint8_t *values;
    const float *scales;
    const uint8_t *next;      /* the values of the tile to come, or these again */
} K(kv_tile);

OX_INLINE vf K(load_values)(const ox_kv_type type, const uint8_t *values, int32_t index) {
    switch (type) {
    case OX_KV_F32:
        return vf_load((const float *)(const void *)values + index);
    case OX_KV_F16:
        return vf_load_f16((const uint16_t *)(const void *)values + index);
    case OX_KV_BF16:
        return vf_load_bf16((const uint16_t *)(const void *)values + index);
    default:
        return vf_load_i8((const int8_t *)values + index);
    }
}

/* Asks for the lines of 32 values of the next tile: processors prefetch on their own only within a page, and the tiles
of
 * one head are pages apart. Into L2: asking L1 was slower, it has fewer lines in flight than a tile needs. */
OX_INLINE void K(prefetch)(const ox_kv_type type, const uint8_t *values, int32_t index) {
    const uint8_t *line = values + (size_t)index * ox_kv_value_bytes(type);
    __builtin_prefetch(line, 0, 2);
    if (type == OX_KV_F32) {
        __builtin_prefetch(line + 64, 0, 2);
    }
}

/* The scales of a q8_0 tile of rows of `dim` values as float32, 32 per sub-block; nothing for other types. */
static const float *K(kv_scales)(const ox_kv_layout *layout, int32_t dim, const uint8_t *scales, float *out) {
    const uint16_t *halves = (const uint16_t *)(const void *)scales;
    for (int32_t i = 0; i < ox_kv_sub_blocks(layout, dim) * OX_KV_BLOCK; i += 16) {
        vf_store(out + i, vf_load_f16(halves + i));
    }
    return out;
}

OX_INLINE void K(widen_16_bits)(const ox_kv_type type, K(kv_tile) from, int32_t first, int32_t end, float *out) {
    for (int32_t i = first; i < end; i += 16) {
        vf_store(out + i, K(load_values)(type, from.values, i));
    }
}

/* Asks for the share of `bytes` of the next tile that belongs to rows [begin, end) of n. Where a tile is widened once
 * nothing is read between: its lines are spread over the work of the rows, or they would wait for one another. */
OX_INLINE void K(prefetch_share)(const uint8_t *next, size_t bytes, int32_t begin, int32_t end, int32_t n) {
    const size_t lines = bytes / OX_ALIGN;
    for (size_t line = lines * (size_t)begin / (size_t)n; line < lines * (size_t)end / (size_t)n; line++) {
        __builtin_prefetch(next + line * OX_ALIGN, 0, 2);
    }
}

/* K as float32 [k_dim][32]. Slots that hold no token give garbage, as they may. */
static void K(widen_k)(const ox_kv_layout *layout, K(kv_tile) k, float *out) {
    const int32_t n = layout->k_dim * OX_KV_BLOCK;
    if (layout->type == OX_KV_F16) {
        K(widen_16_bits)(OX_KV_F16, k, 0, n, out);
    } else if (layout->type == OX_KV_BF16) {
        K(widen_16_bits)(OX_KV_BF16, k, 0, n, out);
    } else {
        for (int32_t i = 0; i < n; i += 16) {
            const vf scale = vf_load(k.scales + i / (32 * OX_KV_BLOCK) * OX_KV_BLOCK + i % OX_KV_BLOCK);
            vf_store(out + i, vf_mul(K(load_values)(OX_KV_Q8_0, k.values, i), scale));
        }
    }
}

/* Tokens [first, end) of V as float32 [32][v_stride]; other tokens are left alone. */
static void K(widen_v)(const ox_kv_layout *layout, K(kv_tile) v, int32_t first, int32_t end, float *out) {
    const int32_t stride = ox_kv_v_stride(layout);
    const int32_t n_sub = ox_kv_sub_blocks(layout, layout->v_dim);
    if (layout->type == OX_KV_F16) {
        K(widen_16_bits)(OX_KV_F16, v, first * stride, end * stride, out);
    } else if (layout->type == OX_KV_BF16) {
        K(widen_16_bits)(OX_KV_BF16, v, first * stride, end * stride, out);
    } else {
        for (int32_t token = first; token < end; token++) {
            for (int32_t i = token * stride; i < token * stride + stride; i += 16) {
                const vf scale = vf_set(v.scales[token * n_sub + (i - token * stride) / 32]);
                vf_store(out + i, vf_mul(K(load_values)(OX_KV_Q8_0, v.values, i), scale));
            }
        }
    }
}

#endif
