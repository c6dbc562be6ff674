/* The value formats of GGUF weights: sizes, and decoding in plain C. Used to pack weights, by the reference level and by
 * the scalar twin of the products; no vector code, no layout of our own.
 *
 * Facts about the formats: ggml's ggml-common.h (block structures) and ggml-quants.c (dequantize_row_*). All of them are
 * little-endian, and so must the machine be. */
#ifndef OX_BLOCKS_H
#define OX_BLOCKS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "half.h"

enum ox_type { /* ggml type numbers */
    OX_F32 = 0,
    OX_F16 = 1,
    OX_Q4_0 = 2,
    OX_Q4_1 = 3,
    OX_Q5_0 = 6,
    OX_Q5_1 = 7,
    OX_Q8_0 = 8,
    OX_Q2_K = 10,
    OX_Q3_K = 11,
    OX_Q4_K = 12,
    OX_Q5_K = 13,
    OX_Q6_K = 14,
    OX_IQ4_NL = 20,
    OX_IQ4_XS = 23,
    OX_BF16 = 30
};

enum ox_minima {
    OX_NO_MIN = 0,
    OX_ADDED_MIN = 1,      /* one float per block, added */
    OX_SUBTRACTED_MIN = 2  /* one small integer per sub-block, times a float per block, subtracted */
};

enum { OX_MAX_BLOCK = 256, OX_MAX_SUBS = 16 };

/* value = (code - offset) * (d * scale) [+ m | - dmin * min];
 * with a codebook a code stands for ox_codebook[code], and offset is what makes those unsigned. */
typedef struct ox_format {
    int32_t block;        /* values per block; 0 for a type that is unknown here */
    int32_t block_bytes;
    int32_t bits;         /* of a code, 0 <= code < 2^bits; 0 for float types */
    int32_t offset;
    int32_t sub;          /* consecutive values that share a scale */
    enum ox_minima minima;
    int32_t has_codebook;
    int32_t act_sub;      /* consecutive activations that share an int8 scale in products with this type: 32 where minima are
                           * added, 256 where sub is 16, since an ox_act_block has the sums of one or of the other */
} ox_format;

/* The values of IQ4_NL and IQ4_XS codes. */
static const int8_t ox_codebook[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static inline ox_format ox_format_of(int32_t type) {
    switch (type) {
        case OX_F32: return (ox_format){1, 4, 0, 0, 0, OX_NO_MIN, 0, 0};
        case OX_F16: return (ox_format){1, 2, 0, 0, 0, OX_NO_MIN, 0, 0};
        case OX_BF16: return (ox_format){1, 2, 0, 0, 0, OX_NO_MIN, 0, 0};
        case OX_Q4_0: return (ox_format){32, 18, 4, 8, 32, OX_NO_MIN, 0, 256};
        case OX_Q4_1: return (ox_format){32, 20, 4, 0, 32, OX_ADDED_MIN, 0, 32};
        case OX_Q5_0: return (ox_format){32, 22, 5, 16, 32, OX_NO_MIN, 0, 32};
        case OX_Q5_1: return (ox_format){32, 24, 5, 0, 32, OX_ADDED_MIN, 0, 32};
        case OX_Q8_0: return (ox_format){32, 34, 8, 128, 32, OX_NO_MIN, 0, 256};
        case OX_Q2_K: return (ox_format){256, 84, 2, 0, 16, OX_SUBTRACTED_MIN, 0, 256};
        case OX_Q3_K: return (ox_format){256, 110, 3, 4, 16, OX_NO_MIN, 0, 256};
        case OX_Q4_K: return (ox_format){256, 144, 4, 0, 32, OX_SUBTRACTED_MIN, 0, 256};
        case OX_Q5_K: return (ox_format){256, 176, 5, 0, 32, OX_SUBTRACTED_MIN, 0, 256};
        case OX_Q6_K: return (ox_format){256, 210, 6, 32, 16, OX_NO_MIN, 0, 256};
        case OX_IQ4_NL: return (ox_format){32, 18, 4, 128, 32, OX_NO_MIN, 1, 32};
        case OX_IQ4_XS: return (ox_format){256, 136, 4, 128, 32, OX_NO_MIN, 1, 256};
        default: return (ox_format){0, 0, 0, 0, 0, OX_NO_MIN, 0, 0};
    }
}

static inline size_t ox_row_bytes(int32_t type, int32_t k) {
    const ox_format f = ox_format_of(type);
    return f.block == 0 ? 0 : (size_t)(k / f.block) * (size_t)f.block_bytes;
}

/* One quantised block taken apart. d and m are float16 as in the file; m is the added minimum or dmin. */
typedef struct ox_codes {
    uint8_t code[OX_MAX_BLOCK];
    uint16_t d, m;
    int8_t scale[OX_MAX_SUBS];  /* one per sub-block; 1 where the format has only d */
    uint8_t min[OX_MAX_SUBS];   /* one per sub-block */
} ox_codes;

static inline uint16_t ox_read_u16(const uint8_t *p) {
    uint16_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

static inline uint32_t ox_read_u32(const uint8_t *p) {
    uint32_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* n low nibbles, then n high nibbles: the order inside 4-bit and 5-bit formats */
static inline void ox_split_nibbles(int32_t n, const uint8_t *bytes, uint8_t *code) {
    for (int32_t i = 0; i < n; i++) {
        code[i] = bytes[i] & 0x0f;
        code[n + i] = bytes[i] >> 4;
    }
}

static inline void ox_add_fifth_bits(const uint8_t *bits, uint8_t *code) {
    const uint32_t word = ox_read_u32(bits);
    for (int32_t i = 0; i < 32; i++) {
        code[i] |= (uint8_t)(((word >> i) & 1u) << 4);
    }
}

/* Eight 6-bit scales and minima in twelve bytes (Q4_K, Q5_K): the first four of each lie in the low bits, the others are
 * split into nibbles and the two top bits of the first eight bytes. */
static inline void ox_scales_and_minima(const uint8_t *packed, ox_codes *out) {
    for (int32_t i = 0; i < 4; i++) {
        out->scale[i] = (int8_t)(packed[i] & 63);
        out->min[i] = packed[i + 4] & 63;
        out->scale[i + 4] = (int8_t)((packed[i + 8] & 0x0f) | ((packed[i] >> 6) << 4));
        out->min[i + 4] = (uint8_t)((packed[i + 8] >> 4) | ((packed[i + 4] >> 6) << 4));
    }
}

/* Sixteen 6-bit scales in twelve bytes (Q3_K), stored with 32 added: low nibbles in the first eight bytes, the two top bits
 * of every fourth scale together in one of the last four. */
static inline void ox_scales_q3_k(const uint8_t *packed, int8_t *scale) {
    for (int32_t i = 0; i < 16; i++) {
        const int32_t low = i < 8 ? packed[i] & 0x0f : packed[i - 8] >> 4;
        const int32_t high = (packed[8 + i % 4] >> (2 * (i / 4))) & 3;
        scale[i] = (int8_t)((low | (high << 4)) - 32);
    }
}

/* Eight 6-bit scales (IQ4_XS), stored with 32 added: two top bits each in a 16-bit word, then the low nibbles. */
static inline void ox_scales_iq4_xs(const uint8_t *packed, int8_t *scale) {
    const uint32_t high = ox_read_u16(packed);
    for (int32_t i = 0; i < 8; i++) {
        const uint32_t low = (packed[2 + i / 2] >> (4 * (i % 2))) & 0x0fu;
        scale[i] = (int8_t)((int32_t)(low | (((high >> (2 * i)) & 3u) << 4)) - 32);
    }
}

/* 2-bit codes: of every 32 bytes first the lowest bits of all, then the next. */
static inline void ox_split_crumbs(const uint8_t *bytes, uint8_t *code) {
    for (int32_t i = 0; i < 256; i++) {
        code[i] = (bytes[i / 128 * 32 + i % 32] >> (2 * (i % 128 / 32))) & 3;
    }
}

static inline void ox_codes_q6_k(const uint8_t *block, uint8_t *code) {
    for (int32_t half = 0; half < 2; half++) {
        const uint8_t *low = block + 64 * half;
        const uint8_t *high = block + 128 + 32 * half;
        uint8_t *out = code + 128 * half;
        for (int32_t i = 0; i < 32; i++) {
            out[i] = (uint8_t)((low[i] & 0x0f) | ((high[i] & 3) << 4));
            out[i + 32] = (uint8_t)((low[i + 32] & 0x0f) | (((high[i] >> 2) & 3) << 4));
            out[i + 64] = (uint8_t)((low[i] >> 4) | (((high[i] >> 4) & 3) << 4));
            out[i + 96] = (uint8_t)((low[i + 32] >> 4) | ((high[i] >> 6) << 4));
        }
    }
}

static inline void ox_decode_block(int32_t type, const uint8_t *block, ox_codes *out) {
    out->d = ox_read_u16(block);
    out->m = 0;
    out->scale[0] = 1;
    switch (type) {
        case OX_Q4_0:
            ox_split_nibbles(16, block + 2, out->code);
            break;
        case OX_Q4_1:
            out->m = ox_read_u16(block + 2);
            ox_split_nibbles(16, block + 4, out->code);
            break;
        case OX_Q5_0:
            ox_split_nibbles(16, block + 6, out->code);
            ox_add_fifth_bits(block + 2, out->code);
            break;
        case OX_Q5_1:
            out->m = ox_read_u16(block + 2);
            ox_split_nibbles(16, block + 8, out->code);
            ox_add_fifth_bits(block + 4, out->code);
            break;
        case OX_Q8_0:
            for (int32_t i = 0; i < 32; i++) {
                out->code[i] = block[2 + i] ^ 0x80;
            }
            break;
        case OX_IQ4_NL:
            ox_split_nibbles(16, block + 2, out->code);
            break;
        case OX_Q2_K:
            out->d = ox_read_u16(block + 80);
            out->m = ox_read_u16(block + 82);
            for (int32_t i = 0; i < 16; i++) {
                out->scale[i] = block[i] & 0x0f;
                out->min[i] = block[i] >> 4;
            }
            ox_split_crumbs(block + 16, out->code);
            break;
        case OX_Q3_K:
            out->d = ox_read_u16(block + 108);
            ox_scales_q3_k(block + 96, out->scale);
            ox_split_crumbs(block + 32, out->code);
            for (int32_t i = 0; i < 256; i++) {
                out->code[i] |= (uint8_t)(((block[i % 32] >> (i / 32)) & 1) << 2);
            }
            break;
        case OX_IQ4_XS:
            ox_scales_iq4_xs(block + 2, out->scale);
            for (int32_t sub = 0; sub < 8; sub++) {
                ox_split_nibbles(16, block + 8 + 16 * sub, out->code + 32 * sub);
            }
            break;
        case OX_Q4_K:
        case OX_Q5_K: {
            const uint8_t *nibbles = block + (type == OX_Q4_K ? 16 : 48);
            out->m = ox_read_u16(block + 2);
            ox_scales_and_minima(block + 4, out);
            for (int32_t pair = 0; pair < 4; pair++) {
                ox_split_nibbles(32, nibbles + 32 * pair, out->code + 64 * pair);
            }
            if (type == OX_Q5_K) {
                for (int32_t i = 0; i < 256; i++) {
                    out->code[i] |= (uint8_t)(((block[16 + i % 32] >> (i / 32)) & 1) << 4);
                }
            }
            break;
        }
        case OX_Q6_K:
            ox_codes_q6_k(block, out->code);
            memcpy(out->scale, block + 192, 16);
            out->d = ox_read_u16(block + 208);
            break;
        default:
            break;
    }
}

/* What a code stands for, before any scale. */
static inline int32_t ox_code_value(const ox_format *f, uint8_t code) {
    return f->has_codebook ? ox_codebook[code] : code - f->offset;
}

/* The float32 values of one block, in the order of operations of ggml's own conversion. */
static inline void ox_block_values(int32_t type, const ox_codes *c, float *out) {
    const ox_format f = ox_format_of(type);
    const float d = ox_f16_to_f32(c->d);
    const float m = ox_f16_to_f32(c->m);
    for (int32_t i = 0; i < f.block; i++) {
        const int32_t sub = i / f.sub;
        const float value = d * (float)c->scale[sub] * (float)ox_code_value(&f, c->code[i]);
        if (f.minima == OX_ADDED_MIN) {
            out[i] = value + m;
        } else if (f.minima == OX_SUBTRACTED_MIN) {
            out[i] = value - m * (float)c->min[sub];
        } else {
            out[i] = value;
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
