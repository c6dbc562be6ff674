/* Decoding blocks of GGUF weights in plain C. Used to pack weights, by the reference level and by the scalar oracle of
 * the products; no vector code, no layout of our own. What a format consists of is in pack/formats.h. */
#ifndef OX_BLOCKS_H
#define OX_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "pack/blocks_grid.h"
#include "pack/blocks_small.h"

static inline void ox_add_fifth_bits(const uint8_t *bits, uint8_t *code) {
    const uint32_t word = ox_read_u32(bits);
    for (int32_t i = 0; i < 32; i++) {
        code[i] |= (uint8_t)(((word >> i) & 1u) << 4);
    }
}

/* Eight 6-bit scales and minima in twelve bytes (Q4_K, Q5_K): the first four of each lie in the low bits, the others
 * are split into nibbles and the two top bits of the first eight bytes. */
static inline void ox_scales_and_minima(const uint8_t *packed, ox_codes *out) {
    for (int32_t i = 0; i < 4; i++) {
        out->scale[i] = (int8_t)(packed[i] & 63);
        out->min[i] = packed[i + 4] & 63;
        out->scale[i + 4] = (int8_t)((packed[i + 8] & 0x0f) | ((packed[i] >> 6) << 4));
        out->min[i + 4] = (uint8_t)((packed[i + 8] >> 4) | ((packed[i + 4] >> 6) << 4));
    }
}

/* Sixteen 6-bit scales in twelve bytes (Q3_K), stored with 32 added: low nibbles in the first eight bytes, the two
 * top bits of every fourth scale together in one of the last four. */
static inline void ox_scales_q3_k(const uint8_t *packed, int8_t *scale) {
    for (int32_t i = 0; i < 16; i++) {
        const int32_t low = i < 8 ? packed[i] & 0x0f : packed[i - 8] >> 4;
        const int32_t high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
        scale[i] = (int8_t)((low | (high << 4)) - 32);
    }
}

/* Eight 6-bit scales (IQ4_XS), stored with 32 added: two top bits each in a 16-bit word, then the low nibbles. */
static inline void ox_scales_iq4_xs(const ox_block_IQ4_XS *block, int8_t *scale) {
    const uint32_t high = ox_read_u16(block->high_scales);
    for (int32_t i = 0; i < 8; i++) {
        const uint32_t low = (block->low_scales[i / 2] >> (4 * (i % 2))) & 0x0fu;
        scale[i] = (int8_t)((int32_t)(low | (((high >> (2 * i)) & 3u) << 4)) - 32);
    }
}

static inline void ox_codes_q6_k(const ox_block_Q6_K *block, uint8_t *code) {
    for (int32_t half = 0; half < 2; half++) {
        const uint8_t *low = block->low + 64 * half;
        const uint8_t *high = block->high + 32 * half;
        uint8_t *out = code + 128 * half;
        for (int32_t i = 0; i < 32; i++) {
            out[i] = (uint8_t)((low[i] & 0x0f) | ((high[i] & 3) << 4));
            out[i + 32] = (uint8_t)((low[i + 32] & 0x0f) | (((high[i] >> 2) & 3) << 4));
            out[i + 64] = (uint8_t)((low[i] >> 4) | (((high[i] >> 4) & 3) << 4));
            out[i + 96] = (uint8_t)((low[i + 32] >> 4) | ((high[i] >> 6) << 4));
        }
    }
}

static inline void ox_decode_Q4_0(const ox_block_Q4_0 *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_split_nibbles(16, block->codes, out->code);
}

static inline void ox_decode_Q4_1(const ox_block_Q4_1 *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    out->m = ox_read_u16(block->m);
    ox_split_nibbles(16, block->codes, out->code);
}

static inline void ox_decode_Q5_0(const ox_block_Q5_0 *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_split_nibbles(16, block->codes, out->code);
    ox_add_fifth_bits(block->fifths, out->code);
}

static inline void ox_decode_Q5_1(const ox_block_Q5_1 *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    out->m = ox_read_u16(block->m);
    ox_split_nibbles(16, block->codes, out->code);
    ox_add_fifth_bits(block->fifths, out->code);
}

static inline void ox_decode_Q8_0(const ox_block_Q8_0 *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    for (int32_t i = 0; i < 32; i++) {
        out->code[i] = block->codes[i] ^ 0x80;
    }
}

static inline void ox_decode_Q2_K(const ox_block_Q2_K *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    out->m = ox_read_u16(block->dmin);
    for (int32_t i = 0; i < 16; i++) {
        out->scale[i] = block->scales[i] & 0x0f;
        out->min[i] = block->scales[i] >> 4;
    }
    ox_split_dibits(block->dibits, out->code);
}

static inline void ox_decode_Q3_K(const ox_block_Q3_K *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_scales_q3_k(block->scales, out->scale);
    ox_split_dibits(block->dibits, out->code);
    for (int32_t i = 0; i < 256; i++) {
        out->code[i] |= (uint8_t)(((block->thirds[i % 32] >> (i / 32)) & 1) << 2);
    }
}

static inline void ox_decode_Q4_K(const ox_block_Q4_K *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    out->m = ox_read_u16(block->dmin);
    ox_scales_and_minima(block->scales, out);
    for (int32_t pair = 0; pair < 4; pair++) {
        ox_split_nibbles(32, block->codes + 32 * pair, out->code + 64 * pair);
    }
}

static inline void ox_decode_Q5_K(const ox_block_Q5_K *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    out->m = ox_read_u16(block->dmin);
    ox_scales_and_minima(block->scales, out);
    for (int32_t pair = 0; pair < 4; pair++) {
        ox_split_nibbles(32, block->codes + 32 * pair, out->code + 64 * pair);
    }
    for (int32_t i = 0; i < 256; i++) {
        out->code[i] |= (uint8_t)(((block->fifths[i % 32] >> (i / 32)) & 1) << 4);
    }
}

static inline void ox_decode_Q6_K(const ox_block_Q6_K *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    memcpy(out->scale, block->scales, 16);
    ox_codes_q6_k(block, out->code);
}

static inline void ox_decode_IQ4_NL(const ox_block_IQ4_NL *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_split_nibbles(16, block->codes, out->code);
}

static inline void ox_decode_IQ4_XS(const ox_block_IQ4_XS *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_scales_iq4_xs(block, out->scale);
    for (int32_t sub = 0; sub < 8; sub++) {
        ox_split_nibbles(16, block->codes + 16 * sub, out->code + 32 * sub);
    }
}

static inline void ox_decode_block(int32_t type, const uint8_t *block, ox_codes *out) {
    out->m = 0;
    switch (type) {
#define OX_ROW(name, ...) \
    case OX_##name: ox_decode_##name((const ox_block_##name *)(const void *)block, out); break;
        OX_INT_TYPES(OX_ROW)
#undef OX_ROW
        default: break;
    }
}

static inline float ox_e4m3_to_f32(uint8_t x) {
    return ox_f16_to_f32((uint16_t)(x << 7)) * 256.0f;
}

/* What a code stands for, before any scale. */
static inline int32_t ox_code_value(const ox_format *f, uint8_t code) {
    return f->book != OX_BOOK_NONE ? ox_books[f->book][code] : code - f->offset;
}

/* What multiplies the code values of sub-block `sub`. Exact, but for the range of a float. */
static inline float ox_sub_scale(const ox_format *f, const ox_codes *c, int32_t sub) {
    switch (f->scales) {
        case OX_SCALES_E8M0: return f->unit * ox_bf16_to_f32(c->d);
        case OX_SCALES_INT8: return f->unit * ox_f16_to_f32(c->d) * (float)c->scale[sub];
        case OX_SCALES_E4M3: return f->unit * ox_e4m3_to_f32((uint8_t)c->scale[sub]);
        default: return f->unit * ox_f16_to_f32(c->d);
    }
}

/* The minimum of a block, or dmin. */
static inline float ox_block_min(const ox_format *f, const ox_codes *c) {
    return f->unit * ox_f16_to_f32(c->m);
}

/* The float32 values of one block, in the order of operations of ggml's own conversion. */
static inline void ox_block_values(int32_t type, const ox_codes *c, float *out) {
    const ox_format f = ox_format_of(type);
    const float m = ox_block_min(&f, c);
    for (int32_t sub = 0; sub < f.block / f.sub; sub++) {
        const float scale = ox_sub_scale(&f, c, sub);
        for (int32_t i = sub * f.sub; i < (sub + 1) * f.sub; i++) {
            const float value = scale * (float)ox_code_value(&f, c->code[i]);
            if (f.minima == OX_MIN_ADDED) {
                out[i] = value + m;
            } else if (f.minima == OX_MIN_SUBTRACTED) {
                out[i] = value - m * (float)c->min[sub];
            } else {
                out[i] = value;
            }
        }
    }
}

/* One block of any type (1 value for a float type) at `block`. */
static inline void ox_dequantize_block(int32_t type, const uint8_t *block, float *out) {
    switch (type) {
        case OX_F32: memcpy(out, block, sizeof *out); break;
        case OX_F16: *out = ox_f16_to_f32(ox_read_u16(block)); break;
        case OX_BF16: *out = ox_bf16_to_f32(ox_read_u16(block)); break;
        default: {
            ox_codes codes;
            ox_decode_block(type, block, &codes);
            ox_block_values(type, &codes, out);
        }
    }
}

static inline void ox_dequantize_row(int32_t type, int32_t k, const uint8_t *row, float *out) {
    const ox_format f = ox_format_of(type);
    for (int32_t i = 0; i < k; i += f.block, row += f.block_bytes) {
        ox_dequantize_block(type, row, out + i);
    }
}

#endif
