/* Scalar conversions between float32 and the two 16-bit formats: the definition that every vector form must match.
 * Storing rounds to nearest even; a NaN stays a NaN. No step touches a subnormal float, so flush modes cannot
 * matter. */
#ifndef OX_HALF_H
#define OX_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t ox_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float ox_bits_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float ox_f16_to_f32(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t exponent = (h >> 10) & 0x1fu;
    const uint32_t mantissa = h & 0x3ffu;
    if (exponent == 0) {
        const float magnitude = (float)(int32_t)mantissa * 0x1p-24f;
        return ox_bits_float(sign | ox_float_bits(magnitude));
    }
    if (exponent == 31) {
        const uint32_t quiet = mantissa != 0 ? 0x400000u : 0;
        return ox_bits_float(sign | 0x7f800000u | quiet | (mantissa << 13));
    }
    return ox_bits_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

static inline uint16_t ox_f32_to_f16(float x) {
    const uint32_t bits = ox_float_bits(x);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
    }
    if (magnitude >= 0x477ff000u) { /* 65520, half-way to the first value that does not exist */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) { /* below 2^-14: the unit of 0.5f's last place is the unit of a subnormal half */
        const float shifted = ox_bits_float(magnitude < 0x00800000u ? 0 : magnitude) + 0.5f;
        return (uint16_t)(sign | (ox_float_bits(shifted) - 0x3f000000u));
    }
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13));
}

static inline float ox_bf16_to_f32(uint16_t h) {
    return ox_bits_float((uint32_t)h << 16);
}

static inline uint16_t ox_f32_to_bf16(float x) {
    const uint32_t bits = ox_float_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (uint16_t)((bits >> 16) | 0x40u);
    }
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

#endif
