/* One quantised block taken apart into codes, scales and minima, and the ways in which several formats keep codes. */
#ifndef OX_BLOCK_CODES_H
#define OX_BLOCK_CODES_H

#include "pack/formats.h"

/* One quantised block taken apart. d and m are 16-bit floats as in the file; m is the added minimum or dmin. */
typedef struct ox_codes {
    uint8_t code[OX_MAX_BLOCK];
    uint16_t d, m;
    int8_t scale[OX_MAX_SUBS];  /* OX_SCALES_INT8, OX_SCALES_E4M3: one per sub-block */
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

/* 2-bit codes: of every 32 bytes first the lowest bits of all, then the next. */
static inline void ox_split_dibits(const uint8_t *bytes, uint8_t *code) {
    for (int32_t i = 0; i < 256; i++) {
        code[i] = (bytes[i / 128 * 32 + i % 32] >> (2 * (i % 128 / 32))) & 3;
    }
}

#endif
