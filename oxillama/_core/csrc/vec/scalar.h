/* vec/vec.h without intrinsics: an array of 16 floats, for `base` on machines that are neither x86-64 nor arm64.
 * Included by vec/vec.h only, which documents the operations. */
#ifndef OX_VEC_SCALAR_H
#define OX_VEC_SCALAR_H

#include <math.h>

typedef struct { float a[16]; } vf;
typedef struct { uint32_t a[16]; } vm; /* a lane is 1 or 0 */

#define VEC_EACH(type, expression)             \
    type out;                                  \
    for (int32_t i = 0; i < 16; i++) {         \
        out.a[i] = (expression);               \
    }                                          \
    return out

static inline vf vf_set(float x) { VEC_EACH(vf, x); }
static inline vf vf_zero(void) { return vf_set(0.0f); }
static inline vf vf_load(const float *p) { VEC_EACH(vf, p[i]); }
static inline void vf_store(float *p, vf v) { memcpy(p, v.a, sizeof v.a); }

static inline vm vm_first(int32_t n) { VEC_EACH(vm, i < n); }
static inline vm vm_and(vm x, vm y) { VEC_EACH(vm, x.a[i] & y.a[i]); }
static inline vm vm_or(vm x, vm y) { VEC_EACH(vm, x.a[i] | y.a[i]); }
static inline vm vm_andnot(vm x, vm y) { VEC_EACH(vm, x.a[i] & ~y.a[i]); }
static inline int32_t vm_any(vm x) {
    uint32_t any = 0;
    for (int32_t i = 0; i < 16; i++) {
        any |= x.a[i];
    }
    return any != 0;
}
static inline vm vf_lt(vf x, vf y) { VEC_EACH(vm, x.a[i] < y.a[i]); }
static inline vm vf_isnan(vf x) { VEC_EACH(vm, x.a[i] != x.a[i]); }
static inline vf vf_select(vm m, vf yes, vf no) { VEC_EACH(vf, m.a[i] ? yes.a[i] : no.a[i]); }

static inline vf vf_load_n(const float *p, int32_t n) { VEC_EACH(vf, i < n ? p[i] : 0.0f); }
static inline void vf_store_n(float *p, vf v, int32_t n) {
    for (int32_t i = 0; i < 16 && i < n; i++) {
        p[i] = v.a[i];
    }
}

static inline vf vf_add(vf x, vf y) { VEC_EACH(vf, x.a[i] + y.a[i]); }
static inline vf vf_sub(vf x, vf y) { VEC_EACH(vf, x.a[i] - y.a[i]); }
static inline vf vf_mul(vf x, vf y) { VEC_EACH(vf, x.a[i] * y.a[i]); }
static inline vf vf_div(vf x, vf y) { VEC_EACH(vf, x.a[i] / y.a[i]); }
static inline vf vf_fma(vf x, vf y, vf z) { VEC_EACH(vf, x.a[i] * y.a[i] + z.a[i]); }
static inline vf vf_max(vf x, vf y) { VEC_EACH(vf, x.a[i] > y.a[i] ? x.a[i] : y.a[i]); }
static inline vf vf_min(vf x, vf y) { VEC_EACH(vf, x.a[i] < y.a[i] ? x.a[i] : y.a[i]); }
static inline vf vf_neg(vf x) { VEC_EACH(vf, -x.a[i]); }
static inline vf vf_round(vf x) { VEC_EACH(vf, nearbyintf(x.a[i])); }
static inline float vec_add_exponent(float x, float n) {
    const int32_t whole = fabsf(n) < 512.0f ? (int32_t)n : 0;
    return ox_bits_float(ox_float_bits(x) + ((uint32_t)whole << 23));
}
static inline vf vf_add_exponent(vf x, vf n) { VEC_EACH(vf, vec_add_exponent(x.a[i], n.a[i])); }

static inline vf vf_load_f16(const uint16_t *p) { VEC_EACH(vf, ox_f16_to_f32(p[i])); }
static inline void vf_store_f16(uint16_t *p, vf v) {
    for (int32_t i = 0; i < 16; i++) {
        p[i] = ox_f32_to_f16(v.a[i]);
    }
}
static inline vf vf_load_bf16(const uint16_t *p) { VEC_EACH(vf, ox_bf16_to_f32(p[i])); }
static inline void vf_store_bf16(uint16_t *p, vf v) {
    for (int32_t i = 0; i < 16; i++) {
        p[i] = ox_f32_to_bf16(v.a[i]);
    }
}
static inline vf vf_load_i8(const int8_t *p) { VEC_EACH(vf, (float)p[i]); }
static inline void vf_store_i8(int8_t *p, vf v) {
    for (int32_t i = 0; i < 16; i++) {
        p[i] = (int8_t)v.a[i];
    }
}

static inline float vf_sum(vf v) {
    for (int32_t width = 8; width > 0; width /= 2) {
        for (int32_t i = 0; i < width; i++) {
            v.a[i] += v.a[i + width];
        }
    }
    return v.a[0];
}
static inline float vf_reduce_max(vf v) {
    for (int32_t width = 8; width > 0; width /= 2) {
        for (int32_t i = 0; i < width; i++) {
            v.a[i] = v.a[i] > v.a[i + width] ? v.a[i] : v.a[i + width];
        }
    }
    return v.a[0];
}

#undef VEC_EACH

#endif
