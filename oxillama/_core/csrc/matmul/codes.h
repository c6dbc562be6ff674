/* Reading packed integer weights: lines of codes, scales and minima, and whole panels. `type` is always a constant. */
#ifndef OX_MATMUL_CODES_H
#define OX_MATMUL_CODES_H

#include "matmul/shape.h"

/* Bits of the factors that go into the products, one of those that va_dot() knows. */
OX_INLINE int32_t ox_factor_bits(const int32_t type) {
    const ox_format f = ox_format_of(type);
    if (f.book != OX_BOOK_NONE) {
        return f.offset == 16 ? 5 : 8;
    }
    return f.bits < 4 ? 4 : f.bits;
}

/* The books as bytes of the level: with the offset added, or signed where that has eight bits. */
#define OX_ENTRY_128(value) (uint8_t)(OX_SIGNED_BYTES ? (value) : (value) + 128),
#define OX_ENTRY_16(value) (uint8_t)((value) + 16),
static const uint8_t K(books)[][16] = {
    {0},
    {OX_BOOK_BIT_VALUES(OX_ENTRY_16)},
    {OX_BOOK_DIBIT_VALUES(OX_ENTRY_16)},
    {OX_BOOK_NL_VALUES(OX_ENTRY_128)},
    {OX_BOOK_FP4_VALUES(OX_ENTRY_16)},
    {OX_BOOK_IQ1_VALUES(OX_ENTRY_16)},
    {OX_BOOK_IQ2_VALUES(OX_ENTRY_128)},
    {OX_BOOK_IQ3_XXS_VALUES(OX_ENTRY_128)},
    {OX_BOOK_IQ3_S_VALUES(OX_ENTRY_16)},
};
#undef OX_ENTRY_128
#undef OX_ENTRY_16

/* What is subtracted from a stored code: a power of two or 0. */
OX_INLINE int32_t ox_stored_offset(const int32_t type) {
    return ox_factor_bits(type) == 8 && OX_SIGNED_BYTES ? 0 : ox_format_of(type).offset;
}

/* Minus the sum of the activations of the format's sub-block `index`, as va_begin() reads it. */
OX_INLINE const int32_t *K(neg_sum)(const int32_t type, const ox_act_block *x, int32_t index) {
    return ox_format_of(type).sub == 16 ? &x->neg_sums16[index] : &x->neg_sums32[index];
}

/* Lines are read in pairs in memory order: nibbles give words j and j + 4, bytes words 2j and 2j + 1. */
OX_INLINE int32_t ox_first_word(const int32_t bits, int32_t j) {
    return bits == 8 ? 2 * j : j;
}
OX_INLINE int32_t ox_second_word(const int32_t bits, int32_t j) {
    return bits == 8 ? 2 * j + 1 : j + 4;
}

/* Pair j (0..3) of both strips, from the codes of 32 k; the lines are read in ascending order. */
OX_INLINE void K(load_pairs)(const int32_t type, const uint8_t *codes, const int32_t j, vb first[2], vb second[2]) {
    const ox_format f = ox_format_of(type);
    const int32_t bits = f.bits;
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
        const uint8_t *line = codes + OX_LINE * s;
        if (bits == 1) {
            first[s] = vb_third(vb_zero(), vb_load(line), j);
            second[s] = vb_third(vb_zero(), vb_load(line), j + 4);
        } else if (!ox_has_nibbles(bits)) {
            const uint8_t *dibits = line + (ox_has_single_bits(bits) ? 2 * OX_LINE : 0);
            first[s] = vb_low_dibit(vb_load(dibits), j);
            second[s] = vb_low_dibit(vb_load(dibits + 2 * OX_LINE), j);
            if (bits == 3) {
                const vb third = vb_load(line);
                first[s] = vb_third(first[s], third, j);
                second[s] = vb_third(second[s], third, j + 4);
            }
        } else {
            const vb nibbles = vb_load(line + ox_high_bits_bytes(type) + (size_t)(2 * OX_LINE * j));
            first[s] = vb_low(nibbles);
            second[s] = vb_high(nibbles);
            if (bits == 5) {
                const vb fifth = vb_load(line);
                first[s] = vb_fifth(first[s], fifth, j);
                second[s] = vb_fifth(second[s], fifth, j + 4);
            } else if (bits == 6) {
                first[s] = vb_dibit(first[s], vb_load(line), j);
                second[s] = vb_dibit(second[s], vb_load(line + 2 * OX_LINE), j);
            }
        }
        if (f.book != OX_BOOK_NONE) {
            first[s] = vb_lookup(K(books)[f.book], first[s]);
            second[s] = vb_lookup(K(books)[f.book], second[s]);
        }
    }
}

/* The tile that holds sub-block `sub` (of 32 k) of activation block `block`, and its codes in there. */
OX_INLINE const uint8_t *K(tile_at)(const int32_t type, const uint8_t *group, int32_t block, int32_t sub) {
    const int32_t subs = ox_format_of(type).block / 32;
    return group + (size_t)(subs == 8 ? block : (8 * block + sub) / subs) * ox_tile_bytes(type);
}
OX_INLINE const uint8_t *K(codes_at)(const int32_t type, const uint8_t *tile, int32_t sub) {
    const int32_t subs = ox_format_of(type).block / 32;
    return tile + ox_header_bytes(type) + (size_t)(subs == 8 ? sub : sub % subs) * ox_codes_bytes(type);
}

/* Lines of packed weights in an activation block. */
OX_INLINE int32_t ox_block_lines(int32_t type) {
    return (int32_t)(ox_tile_bytes(type) * (size_t)(256 / ox_format_of(type).block) / OX_LINE);
}

/* d of a strip, with the format's unit; undefined in formats without d. */
OX_INLINE vf K(load_d)(const int32_t type, const uint8_t *tile, const int32_t strip) {
    const ox_format f = ox_format_of(type);
    if (f.scales == OX_SCALES_E4M3) {
        return vf_zero();
    }
    const uint16_t *d = (const uint16_t *)tile + 16 * strip;
    const vf value = f.scales == OX_SCALES_E8M0 ? vf_load_bf16(d) : vf_load_f16(d);
    return f.unit == 1.0f ? value : vf_mul(value, vf_set(f.unit));
}
OX_INLINE vf K(load_m)(const int32_t type, const uint8_t *tile, const int32_t strip) {
    const float unit = ox_format_of(type).unit;
    const vf m = vf_load_f16((const uint16_t *)(tile + OX_LINE) + 16 * strip);
    return unit == 1.0f ? m : vf_mul(m, vf_set(unit));
}
/* The scale of a sub-block, `index` of the format's own in an activation block; d is the tile's. Exact: an 11-bit
 * significand times at most 8 bits. */
OX_INLINE vf K(load_scale)(const int32_t type, const uint8_t *tile, vf d, int32_t index, const int32_t strip) {
    const ox_format f = ox_format_of(type);
    if (ox_scales_bytes(type) == 0) {
        return d;
    }
    const int32_t subs = f.block / f.sub;
    const int32_t at = f.block == OX_ACT_BLOCK ? index : index % subs;
    const uint8_t *scales = tile + ox_scales_offset(type) + OX_GROUP_ROWS * at + 16 * strip;
    if (f.scales == OX_SCALES_E4M3) {
        return vf_mul(vf_load_e4m3(scales), vf_set(f.unit));
    }
    if (ox_minima_in_scales(type)) {
        return vf_mul(d, vi_float(vi_load_low_nibbles(scales)));
    }
    return vf_mul(d, vf_load_i8((const int8_t *)scales));
}
/* The subtracted minima of a tile are multiplied with the sums of the activations in steps: two sub-blocks at a time
 * where they have 32 values, else one, whose vn_word() is negated and so is the result. */
OX_INLINE int32_t ox_minima_steps(const int32_t type) {
    return ox_format_of(type).sub == 32 ? 4 : 16;
}
OX_INLINE vw K(load_minima)(const int32_t type, const uint8_t *minima, const int32_t step, const int32_t strip) {
    return ox_format_of(type).sub == 32 ? vw_load_u8(minima + (step * OX_GROUP_ROWS + 16 * strip) * 2)
                                        : vw_load_high_nibbles(minima + step * OX_GROUP_ROWS + 16 * strip);
}
OX_INLINE vq K(load_minima_sums)(const int32_t type, const ox_act_block *x, const int32_t step) {
    return ox_format_of(type).sub == 32 ? vq_load(x->sums32 + 2 * step) : vq_load(x->neg_sums16 + step);
}
OX_INLINE vf K(minima_float)(const int32_t type, vi sum) {
    return vi_float(ox_format_of(type).sub == 32 ? sum : vi_negate(sum));
}

/* An integer sum of products within sub-block `sub` of 32 k, before the weight's scale. */
OX_INLINE vf K(products_float)(const int32_t type, vi sum, const ox_act_block *x, int32_t sub) {
    const vf products = vi_float(sum);
    return ox_format_of(type).act_sub == 32 ? vf_mul(products, vf_set(x->scales32[sub])) : products;
}

/* Unpacks 32 rows x `n_subs` * 32 k of one activation block. */
OX_INLINE void K(unpack_panel)(const int32_t type, const uint8_t *group, int32_t block, int32_t n_subs,
                               ox_panel *panel) {
    const ox_format f = ox_format_of(type);
    const int32_t halves = 32 / f.sub;
    for (int32_t sub = 0; sub < n_subs; sub++) {
        const uint8_t *tile = K(tile_at)(type, group, block, sub);
        const uint8_t *codes = K(codes_at)(type, tile, sub);
        uint8_t *lines = panel->codes + sub * OX_WORDS * 2 * OX_LINE;
        OX_UNROLL
        for (int32_t j = 0; j < 4; j++) {
            vb first[2], second[2];
            K(load_pairs)(type, codes, j, first, second);
            OX_UNROLL
            for (int32_t s = 0; s < 2; s++) {
                vb_store(lines + (2 * ox_first_word(f.bits, j) + s) * OX_LINE, first[s]);
                vb_store(lines + (2 * ox_second_word(f.bits, j) + s) * OX_LINE, second[s]);
            }
        }
        for (int32_t s = 0; s < 2; s++) {
            const vf d = K(load_d)(type, tile, s);
            for (int32_t h = 0; h < halves; h++) {
                const int32_t index = sub * halves + h;
                vf_store(panel->scales[index] + 16 * s, K(load_scale)(type, tile, d, index, s));
            }
            if (f.minima == OX_MIN_ADDED) {
                vf_store(panel->added[sub] + 16 * s, K(load_m)(type, tile, s));
            } else if (f.minima == OX_MIN_SUBTRACTED) {
                vf_store(panel->neg_dmin + 16 * s, vf_neg(K(load_m)(type, tile, s)));
                panel->minima = tile + ox_minima_offset(type);
            }
        }
    }
}

#endif
