/* Decoding the IQ1, IQ2 and IQ3 formats, whose code words are indices of the grids. See pack/blocks.h.
 *
 * A code of theirs is the number of a magnitude in the format's book and, above it, a sign, but for IQ1_S. */
#ifndef OX_BLOCKS_GRID_H
#define OX_BLOCKS_GRID_H

#include "pack/block_codes.h"
#include "pack/grids.h"

/* Eight numbers of two bits, or four of three, to a byte each. */
static inline uint64_t ox_spread_dibits(uint16_t entry) {
    uint64_t v = entry;
    v = (v | v << 24) & 0x000000ff000000ffu;
    v = (v | v << 12) & 0x000f000f000f000fu;
    return (v | v << 6) & 0x0303030303030303u;
}
static inline uint32_t ox_spread_threes(uint16_t entry) {
    const uint32_t v = (entry | (uint32_t)entry << 10) & 0x003f003fu;
    return (v | v << 5) & 0x07070707u;
}
/* Eight bits to the lowest bit of a byte each. */
static inline uint64_t ox_spread_bits(uint8_t bits) {
    uint64_t v = bits;
    v = (v | v << 28) & 0x0000000f0000000fu;
    v = (v | v << 14) & 0x0003000300030003u;
    return (v | v << 7) & 0x0101010101010101u;
}

/* Seven signs; the eighth makes the number of minus signs even. */
static inline uint8_t ox_eight_signs(uint32_t seven) {
    uint32_t parity = seven ^ (seven >> 4);
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return (uint8_t)(seven | (parity & 1) << 7);
}

/* Eight codes of three bits: two of a magnitude, one of the sign. */
static inline void ox_codes_of_grid(uint16_t entry, uint8_t signs, uint8_t *code) {
    const uint64_t eight = ox_spread_dibits(entry) | ox_spread_bits(signs) << 2;
    memcpy(code, &eight, sizeof eight);
}
/* Eight codes of four bits, from two entries. */
static inline void ox_codes_of_grids(uint16_t first, uint16_t second, uint8_t signs, uint8_t *code) {
    const uint64_t magnitudes = ox_spread_threes(first) | (uint64_t)ox_spread_threes(second) << 32;
    const uint64_t eight = magnitudes | ox_spread_bits(signs) << 3;
    memcpy(code, &eight, sizeof eight);
}

/* Scales are odd numbers, stored in a few bits each. */
static inline int8_t ox_odd_scale(uint32_t bits) {
    return (int8_t)(2 * bits + 1);
}
static inline void ox_odd_scales(int32_t n_bytes, const uint8_t *nibbles, int8_t *scale) {
    for (int32_t i = 0; i < n_bytes; i++) {
        scale[2 * i] = ox_odd_scale(nibbles[i] & 0x0f);
        scale[2 * i + 1] = ox_odd_scale(nibbles[i] >> 4);
    }
}

/* Of each 32 values: four indices, then four times seven signs and the scale in one word. */
static inline void ox_decode_IQ2_XXS(const ox_block_IQ2_XXS *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    for (int32_t sub = 0; sub < 8; sub++) {
        const uint8_t *index = block->words + 8 * sub;
        const uint32_t word = ox_read_u32(index + 4);
        out->scale[sub] = ox_odd_scale(word >> 28);
        for (int32_t i = 0; i < 4; i++) {
            ox_codes_of_grid(ox_grid_iq2_xxs[index[i]], ox_eight_signs((word >> (7 * i)) & 127),
                             out->code + 32 * sub + 8 * i);
        }
    }
}

/* Of each 8 values: nine bits of an index and seven signs. */
static inline void ox_decode_IQ2_XS(const ox_block_IQ2_XS *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_odd_scales(8, block->scales, out->scale);
    for (int32_t i = 0; i < 32; i++) {
        const uint32_t word = ox_read_u16(block->words + 2 * i);
        ox_codes_of_grid(ox_grid_iq2_xs[word & 511], ox_eight_signs(word >> 9), out->code + 8 * i);
    }
}

static inline void ox_decode_IQ2_S(const ox_block_IQ2_S *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_odd_scales(8, block->scales, out->scale);
    for (int32_t i = 0; i < 32; i++) {
        const uint32_t high = (block->high[i / 4] >> (2 * (i % 4))) & 3;
        ox_codes_of_grid(ox_grid_iq2_s[block->low[i] | high << 8], block->signs[i], out->code + 8 * i);
    }
}

static inline void ox_decode_IQ3_XXS(const ox_block_IQ3_XXS *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    for (int32_t sub = 0; sub < 8; sub++) {
        const uint8_t *index = block->indices + 8 * sub;
        const uint32_t word = ox_read_u32(block->words + 4 * sub);
        out->scale[sub] = ox_odd_scale(word >> 28);
        for (int32_t i = 0; i < 4; i++) {
            ox_codes_of_grids(ox_grid_iq3_xxs[index[2 * i]], ox_grid_iq3_xxs[index[2 * i + 1]],
                              ox_eight_signs((word >> (7 * i)) & 127), out->code + 32 * sub + 8 * i);
        }
    }
}

static inline void ox_decode_IQ3_S(const ox_block_IQ3_S *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_odd_scales(4, block->scales, out->scale);
    for (int32_t i = 0; i < 32; i++) {
        const uint32_t high = block->high[i / 4] >> (2 * (i % 4));
        const uint32_t first = block->low[2 * i] | (high & 1) << 8;
        const uint32_t second = block->low[2 * i + 1] | (high & 2) << 7;
        ox_codes_of_grids(ox_grid_iq3_s[first], ox_grid_iq3_s[second], block->signs[i], out->code + 8 * i);
    }
}

/* value = d * scale * (digit +- 1/8), digit = -1, 0 or 1, which is
 * d / 8 * (8 * scale * (digit + 1) - scale * (8 -+ 1)). */
static inline void ox_decode_IQ1_S(const ox_block_IQ1_S *block, ox_codes *out) {
    out->d = out->m = ox_read_u16(block->d);
    for (int32_t sub = 0; sub < 8; sub++) {
        const uint32_t high = ox_read_u16(block->high + 2 * sub);
        const int8_t scale = ox_odd_scale((high >> 12) & 7);
        out->scale[sub] = (int8_t)(8 * scale);
        out->min[sub] = (uint8_t)(scale * (high & 0x8000 ? 9 : 7));
        for (int32_t i = 0; i < 4; i++) {
            const uint32_t index = block->low[4 * sub + i] | ((high >> (3 * i)) & 7) << 8;
            ox_codes_of_grid(ox_grid_iq1[index], 0, out->code + 32 * sub + 8 * i);
        }
    }
}

/* The same with a sign of the eighth for each 8 values, which is the third bit of their codes. d lies in the top
 * nibbles of four words, whose other bits are scales. */
static inline void ox_decode_IQ1_M(const ox_block_IQ1_M *block, ox_codes *out) {
    out->d = 0;
    for (int32_t i = 0; i < 4; i++) {
        const uint32_t word = ox_read_u16(block->scales + 2 * i);
        out->d |= (uint16_t)((word >> 12) << (4 * i));
        for (int32_t s = 0; s < 4; s++) {
            out->scale[4 * i + s] = ox_odd_scale((word >> (3 * s)) & 7);
        }
    }
    for (int32_t i = 0; i < 32; i++) {
        const uint32_t high = block->high[i / 2] >> (4 * (i % 2));
        ox_codes_of_grid(ox_grid_iq1[block->low[i] | (high & 7) << 8], high & 8 ? 0xff : 0, out->code + 8 * i);
    }
}

#endif
