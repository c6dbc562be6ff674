/* Rows of float16 weights as bfloat16: the nearest, ties to even; a NaN stays one. The same values as half.h would give
 * one after the other, written without branches so that the compiler makes vectors of it. */
#ifndef OX_FLOAT_ROWS_H
#define OX_FLOAT_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "half.h"

static inline void ox_f16_rows_to_bf16(const uint16_t *from, size_t n, uint16_t *to) {
    for (size_t i = 0; i < n; i++) {
        const uint32_t sign = from[i] & 0x8000u;
        const uint32_t magnitude = from[i] & 0x7fffu;
        const uint32_t small = ox_float_bits((float)(int32_t)magnitude * 0x1p-24f);
        const uint32_t exponent = magnitude < 0x7c00u ? 112u << 23 : 224u << 23;
        const uint32_t wide = magnitude < 0x400u ? small : (magnitude << 13) + exponent;
        const uint32_t rounded = (wide + 0x7fffu + ((wide >> 16) & 1u)) >> 16;
        const uint32_t quiet = (wide >> 16) | 0x40u;
        to[i] = (uint16_t)(sign | (magnitude > 0x7c00u ? quiet : rounded));
    }
}

#endif
