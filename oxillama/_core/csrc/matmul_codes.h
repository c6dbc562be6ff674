/* Reading packed integer weights: lines of codes, scales and minima, and whole panels. `type` is always a constant. */
#ifndef OX_MATMUL_CODES_H
#define OX_MATMUL_CODES_H

#include "matmul_shape.h"

/* What is subtracted from a stored code; every offset is a power of two, so the start of a sum is a shift. */
OX_INLINE int32_t ox_stored_offset(int32_t type) {
    const ox_format f = ox_format_of(type);
    return f.bits == 8 && OX_SIGNED_BYTES ? 0 : f.offset;
}
OX_INLINE vi K(first_sum)(const int32_t type, const int32_t *neg_sum) {
    const int32_t offset = ox_stored_offset(type);
    return offset == 0 ? vi_set(0) : vi_shift_left(vi_set(*neg_sum), __builtin_ctz((unsigned)offset));
}

/* Lines are read in pairs in memory order: nibbles give quads j and j + 4, bytes quads 2j and 2j + 1. */
OX_INLINE int32_t ox_first_quad(const int32_t bits, int32_t j) {
    return bits == 8 ? 2 * j : j;
}
OX_INLINE int32_t ox_second_quad(const int32_t bits, int32_t j) {
    return bits == 8 ? 2 * j + 1 : j + 4;
}

/* Pair j (0..3) of both strips, from the codes of 32 k; the lines are read in ascending order. */
OX_INLINE void K(load_pairs)(const int32_t type, const uint8_t *codes, const int32_t j, vb first[2], vb second[2]) {
    const int32_t bits = ox_format_of(type).bits;
    if (bits == 8) {
        const uint8_t *line = codes + 4 * OX_LINE * j;
        first[0] = vb_load(line);
        first[1] = vb_load(line + OX_LINE);
        second[0] = vb_load(line + 2 * OX_LINE);
        second[1] = vb_load(line + 3 * OX_LINE);
        return;
    }
    OX_UNROLL
    for (int32_t s = 0; s < 2; s++) {
        const uint8_t *high_bits = codes + OX_LINE * s;
        const vb nibbles = vb_load(high_bits + ox_high_bits_bytes(type) + (size_t)(2 * OX_LINE * j));
        first[s] = vb_low(nibbles);
        second[s] = vb_high(nibbles);
        if (bits == 5) {
            const vb fifth = vb_load(high_bits);
            first[s] = vb_fifth(first[s], fifth, j);
            second[s] = vb_fifth(second[s], fifth, j + 4);
        } else if (bits == 6) {
            first[s] = vb_crumb(first[s], vb_load(high_bits), j);
            second[s] = vb_crumb(second[s], vb_load(high_bits + 2 * OX_LINE), j);
        }
    }
}

/* The tile that holds sub-block `sub` (of 32 k) of activation block `block`, and its codes in there. */
OX_INLINE const uint8_t *K(tile_at)(const int32_t type, const uint8_t *group, int32_t block, int32_t sub) {
    const int32_t index = ox_format_of(type).block == 256 ? block : 8 * block + sub;
    return group + (size_t)index * ox_tile_bytes(type);
}
OX_INLINE const uint8_t *K(codes_at)(const int32_t type, const uint8_t *tile, int32_t sub) {
    const int32_t index = ox_format_of(type).block == 256 ? sub : 0;
    return tile + ox_header_bytes(type) + (size_t)index * ox_codes_bytes(type);
}

OX_INLINE vf K(load_d)(const uint8_t *tile, const int32_t strip) {
    return vf_load_f16((const uint16_t *)tile + 16 * strip);
}
OX_INLINE vf K(load_m)(const uint8_t *tile, const int32_t strip) {
    return vf_load_f16((const uint16_t *)(tile + OX_LINE) + 16 * strip);
}
/* The scale of a sub-block; `index` counts the format's own sub-blocks within the tile, d is the tile's. Exact: an 11-bit
 * significand times at most 8 bits. */
OX_INLINE vf K(load_scale)(const int32_t type, const uint8_t *tile, vf d, int32_t index, const int32_t strip) {
    if (ox_format_of(type).block == 32) {
        return d;
    }
    const uint8_t *scales = tile + ox_scales_offset(type) + OX_GROUP_ROWS * index + 16 * strip;
    return vf_mul(d, vf_load_i8((const int8_t *)scales));
}
OX_INLINE vw K(load_minima)(const uint8_t *minima, const int32_t pair, const int32_t strip) {
    return vw_load_u8(minima + (pair * OX_GROUP_ROWS + 16 * strip) * 2);
}

/* Unpacks 32 rows x `n_subs` * 32 k of one activation block. */
OX_INLINE void K(unpack_panel)(const int32_t type, const uint8_t *group, int32_t block, int32_t n_subs,
                               ox_panel *panel) {
    const ox_format f = ox_format_of(type);
    const int32_t halves = 32 / f.sub;
    for (int32_t sub = 0; sub < n_subs; sub++) {
        const uint8_t *tile = K(tile_at)(type, group, block, sub);
        const uint8_t *codes = K(codes_at)(type, tile, sub);
        uint8_t *lines = panel->codes + sub * OX_QUADS * 2 * OX_LINE;
        OX_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            vb first[2], second[2];
            K(load_pairs)(type, codes, j, first, second);
            OX_UNROLL
            for (int32_t s = 0; s < 2; s++) {
                vb_store(lines + (2 * ox_first_quad(f.bits, j) + s) * OX_LINE, first[s]);
                vb_store(lines + (2 * ox_second_quad(f.bits, j) + s) * OX_LINE, second[s]);
            }
        }
        for (int32_t s = 0; s < 2; s++) {
            const vf d = K(load_d)(tile, s);
            for (int32_t h = 0; h < halves; h++) {
                const int32_t index = sub * halves + h;
                vf_store(panel->scales[index] + 16 * s, K(load_scale)(type, tile, d, index, s));
            }
            if (f.minima == OX_ADDED_MIN) {
                vf_store(panel->added[sub] + 16 * s, K(load_m)(tile, s));
            } else if (f.minima == OX_SUBTRACTED_MIN) {
                vf_store(panel->neg_dmin + 16 * s, vf_neg(K(load_m)(tile, s)));
                panel->minima = tile + ox_minima_offset(type);
            }
        }
    }
}

#endif
