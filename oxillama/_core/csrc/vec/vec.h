/* Sixteen float32 lanes as one value, the same operations at every instruction-set level.
 *
 * The including .c file selects the level by defining OX_HAS_AVX512, OX_HAS_AVX2, OX_HAS_SSE41 or OX_HAS_NEON (the
 * first of these wins; none means plain C) after it has included the intrinsics header and set the compiler's target.
 * The compiler's own macros are not consulted: clang does not define them under a target attribute.
 *
 * vf                16 lanes                     vm                a lane mask
 * vf_set(x)         x in every lane              vf_zero()
 * vf_load(p)        unaligned                    vf_store(p, v)
 * vf_load_n(p, n)   first n lanes, others zero   vf_store_n(p, v, n)   neither touches memory behind lane n - 1
 * vf_add, vf_sub, vf_mul, vf_div, vf_neg
 * vf_fma(x, y, z)   x * y + z; one rounding where the level has FMA, two on SSE4.1 and in plain C
 * vf_max, vf_min    x > y ? x : y and x < y ? x : y, so a NaN in either operand gives y
 * vf_lt(x, y)       mask, false for NaN          vf_isnan(x)
 * vm_first(n)       lanes below n, any n         vm_any(x)
 * vm_and(x, y), vm_or(x, y), vm_andnot(x, y) = x & ~y
 * vf_select(m, yes, no)
 * vf_round(x)       to the nearest integer, ties to even
 * vf_add_exponent(x, n)   x * 2^n by adding to the exponent field: n integral, x and the result normal
 * vf_load_f16, vf_store_f16, vf_load_bf16, vf_store_bf16     16 values; half.h defines the conversions
 * vf_load_i8(p)     16 signed bytes              vf_store_i8(p, v)   whole numbers in [-128, 127]
 * vf_load_e4m3(p)   16 floats of 4 bits of exponent and 3 of mantissa, below 128; the highest is 480, none is a NaN
 * vf_sum(v), vf_reduce_max(v)   one tree at every level: lane i with i + 8, then i + 4, i + 2, i + 1
 * vf_exp(x)         see below */
#ifndef OX_VEC_H
#define OX_VEC_H

#include <stdint.h>
#include <string.h>

#include "half.h"

#if defined(OX_HAS_AVX512)
#include "vec/avx512.h"
#elif defined(OX_HAS_AVX2)
#include "vec/avx2.h"
#elif defined(OX_HAS_SSE41)
#include "vec/sse41.h"
#elif defined(OX_HAS_NEON)
#include "vec/neon.h"
#else
#include "vec/scalar.h"
#endif

/* Shifted to the bits of a float16 the exponent is biased by 15 instead of 7. */
static inline vf vf_load_e4m3(const uint8_t *p) {
    uint16_t halves[16];
    for (int i = 0; i < 16; i++) {
        halves[i] = (uint16_t)(p[i] << 7);
    }
    return vf_mul(vf_load_f16(halves), vf_set(256.0f));
}

/* e^x to about one unit in the last place. exp(-inf) = 0, a NaN stays one, and a result below the smallest normal
 * float is
 * 0, so nothing downstream meets a subnormal.
 *
 * Range reduction after Cody and Waite (Software Manual for the Elementary Functions, 1980): x = n ln2 + r with ln2 in
 * two parts, the first short enough that n times it is exact. e^r = 1 + r + r^2 q(r) on |r| <= ln2 / 2, q of degree 4
 * fitted for the least relative error (3e-9, a twentieth of half a unit). */
static inline vf vf_exp_inside(vf inside) {
    const vf n = vf_round(vf_mul(inside, vf_set(1.44269504f)));
    vf r = vf_fma(n, vf_set(-0.693359375f), inside);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf q = vf_fma(vf_set(0x1.6a23cep-10f), r, vf_set(0x1.123a20p-7f));
    q = vf_fma(q, r, vf_set(0x1.5558f2p-5f));
    q = vf_fma(q, r, vf_set(0x1.555492p-3f));
    q = vf_fma(q, r, vf_set(0x1.fffffcp-2f));
    const vf power = vf_add(vf_fma(q, vf_mul(r, r), r), vf_set(1.0f));
    return vf_add_exponent(power, n);
}

static inline vf vf_exp(vf x) {
    const vf lowest = vf_set(-87.33654f); /* ln(2^-126) */
    const vf highest = vf_set(88.72283f); /* ln(2^128), rounded down */
    const vf result = vf_exp_inside(vf_min(highest, vf_max(lowest, x)));
    return vf_select(vf_lt(highest, x), vf_set(ox_bits_float(0x7f800000u)),
                     vf_select(vf_lt(x, lowest), vf_zero(), result));
}

/* The same for x <= 0 or a NaN, without the steps that guard against an overflow. */
static inline vf vf_exp_negative(vf x) {
    const vf lowest = vf_set(-87.33654f);
    return vf_select(vf_lt(x, lowest), vf_zero(), vf_exp_inside(vf_max(lowest, x)));
}

#endif
