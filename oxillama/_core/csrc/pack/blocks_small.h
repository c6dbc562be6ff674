/* Decoding the formats of few levels: one bit, ternary, and floats of four bits. See pack/blocks.h. */
#ifndef OX_BLOCKS_SMALL_H
#define OX_BLOCKS_SMALL_H

#include "pack/block_codes.h"

/* Single bits stand for -d and d; their codes are 0 and 4. */
static inline void ox_decode_Q1_0(const ox_block_Q1_0 *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    for (int32_t i = 0; i < 128; i++) {
        out->code[i] = (uint8_t)(((block->bits[i / 8] >> (i % 8)) & 1) << 2);
    }
}

static inline void ox_decode_Q2_0(const ox_block_Q2_0 *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    for (int32_t i = 0; i < 64; i++) {
        out->code[i] = (block->dibits[i / 4] >> (2 * (i % 4))) & 3;
    }
}

static inline void ox_decode_TQ2_0(const ox_block_TQ2_0 *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_split_dibits(block->dibits, out->code);
}

/* `n` bytes hold `digits` digits of base 3 each, as fractions of 256: multiplying a byte moves the next digit above
 * it. First come the first digits of all bytes, then the second ones. */
static inline void ox_split_trits(int32_t n, int32_t digits, const uint8_t *bytes, uint8_t *code) {
    for (int32_t i = 0; i < n; i++) {
        uint8_t rest = bytes[i];
        for (int32_t digit = 0; digit < digits; digit++, rest = (uint8_t)(rest * 3)) {
            code[digit * n + i] = (uint8_t)((rest * 3) >> 8);
        }
    }
}

static inline void ox_decode_TQ1_0(const ox_block_TQ1_0 *block, ox_codes *out) {
    out->d = ox_read_u16(block->d);
    ox_split_trits(32, 5, block->fives, out->code);
    ox_split_trits(16, 5, block->fives + 32, out->code + 160);
    ox_split_trits(4, 4, block->fours, out->code + 240);
}

/* A power of two; the lowest two are subnormal. The book has doubled values, hence 2^(exponent - 128). */
static inline uint16_t ox_e8m0_to_bf16(uint8_t exponent) {
    return exponent < 2 ? (uint16_t)(0x20 << exponent) : (uint16_t)((exponent - 1) << 7);
}

static inline void ox_decode_MXFP4(const ox_block_MXFP4 *block, ox_codes *out) {
    out->d = ox_e8m0_to_bf16(block->exponent);
    ox_split_nibbles(16, block->codes, out->code);
}

/* The sign of a scale has no meaning, except that 0x7f without it is zero and not the highest value. */
static inline void ox_decode_NVFP4(const ox_block_NVFP4 *block, ox_codes *out) {
    out->d = 0;
    for (int32_t sub = 0; sub < 4; sub++) {
        const uint8_t scale = block->scales[sub];
        out->scale[sub] = (int8_t)(scale == 0x7f ? 0 : scale & 0x7f);
        ox_split_nibbles(8, block->codes + 8 * sub, out->code + 16 * sub);
    }
}

#endif
