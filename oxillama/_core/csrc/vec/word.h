/* Sixteen uint32 words beside the float lanes of vec/vec.h, for random bits.
 *
 * vu                       16 words              vu_set(x)   vu_store(p, v)   unaligned
 * vu_count(x)              x, x + 1, ... x + 15
 * vu_xor(x, y)
 * vu_mul_wide(v, m, &high) the low words of the 64-bit products with m; the high ones go to `high`
 * vu_half(v)               v / 2, rounded down, as floats
 * vf_bits(x)               the bits of floats that are not negative, as numbers, rounded to floats
 * vm_bits(m)               bit i is lane i of a mask */
#ifndef OX_VEC_WORD_H
#define OX_VEC_WORD_H

#if defined(OX_HAS_AVX512)

typedef struct { __m512i a; } vu;

OX_INLINE vu vu_set(uint32_t x) { return (vu){_mm512_set1_epi32((int32_t)x)}; }
OX_INLINE void vu_store(uint32_t *p, vu v) { _mm512_storeu_si512(p, v.a); }
OX_INLINE vu vu_count(uint32_t x) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return (vu){_mm512_add_epi32(_mm512_set1_epi32((int32_t)x), lanes)};
}
OX_INLINE vu vu_xor(vu x, vu y) { return (vu){_mm512_xor_si512(x.a, y.a)}; }
OX_INLINE vu vu_mul_wide(vu v, uint32_t m, vu *high) {
    const __m512i factor = _mm512_set1_epi32((int32_t)m);
    const __m512i even = _mm512_mul_epu32(v.a, factor);
    const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(v.a, 32), factor);
    high->a = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
    return (vu){_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32))};
}
OX_INLINE vf vu_half(vu v) { return (vf){_mm512_cvtepi32_ps(_mm512_srli_epi32(v.a, 1))}; }
OX_INLINE vf vf_bits(vf x) { return (vf){_mm512_cvtepi32_ps(_mm512_castps_si512(x.a))}; }
OX_INLINE uint32_t vm_bits(vm m) { return m.a; }

#elif defined(OX_HAS_AVX2)

typedef struct { __m256i a, b; } vu;

OX_INLINE vu vu_set(uint32_t x) {
    const __m256i v = _mm256_set1_epi32((int32_t)x);
    return (vu){v, v};
}
OX_INLINE void vu_store(uint32_t *p, vu v) {
    _mm256_storeu_si256((__m256i *)p, v.a);
    _mm256_storeu_si256((__m256i *)(p + 8), v.b);
}
OX_INLINE vu vu_count(uint32_t x) {
    const __m256i first = _mm256_set1_epi32((int32_t)x);
    return (vu){_mm256_add_epi32(first, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)),
                _mm256_add_epi32(first, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15))};
}
OX_INLINE vu vu_xor(vu x, vu y) { return (vu){_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)}; }
OX_INLINE __m256i vec_mul_wide(__m256i v, __m256i factor, __m256i *high) {
    const __m256i even = _mm256_mul_epu32(v, factor);
    const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(v, 32), factor);
    *high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}
OX_INLINE vu vu_mul_wide(vu v, uint32_t m, vu *high) {
    const __m256i factor = _mm256_set1_epi32((int32_t)m);
    vu low;
    low.a = vec_mul_wide(v.a, factor, &high->a);
    low.b = vec_mul_wide(v.b, factor, &high->b);
    return low;
}
OX_INLINE vf vu_half(vu v) {
    return (vf){_mm256_cvtepi32_ps(_mm256_srli_epi32(v.a, 1)), _mm256_cvtepi32_ps(_mm256_srli_epi32(v.b, 1))};
}
OX_INLINE vf vf_bits(vf x) {
    return (vf){_mm256_cvtepi32_ps(_mm256_castps_si256(x.a)), _mm256_cvtepi32_ps(_mm256_castps_si256(x.b))};
}
OX_INLINE uint32_t vm_bits(vm m) {
    return (uint32_t)_mm256_movemask_ps(m.a) | (uint32_t)_mm256_movemask_ps(m.b) << 8;
}

#elif defined(OX_HAS_SSE41)

typedef struct { __m128i a, b, c, d; } vu;

OX_INLINE vu vu_set(uint32_t x) {
    const __m128i v = _mm_set1_epi32((int32_t)x);
    return (vu){v, v, v, v};
}
OX_INLINE void vu_store(uint32_t *p, vu v) {
    _mm_storeu_si128((__m128i *)p, v.a);
    _mm_storeu_si128((__m128i *)(p + 4), v.b);
    _mm_storeu_si128((__m128i *)(p + 8), v.c);
    _mm_storeu_si128((__m128i *)(p + 12), v.d);
}
OX_INLINE __m128i vec_count(uint32_t x) {
    return _mm_add_epi32(_mm_set1_epi32((int32_t)x), _mm_setr_epi32(0, 1, 2, 3));
}
OX_INLINE vu vu_count(uint32_t x) { return (vu){vec_count(x), vec_count(x + 4), vec_count(x + 8), vec_count(x + 12)}; }
OX_INLINE vu vu_xor(vu x, vu y) {
    return (vu){_mm_xor_si128(x.a, y.a), _mm_xor_si128(x.b, y.b), _mm_xor_si128(x.c, y.c), _mm_xor_si128(x.d, y.d)};
}
OX_INLINE __m128i vec_mul_wide(__m128i v, __m128i factor, __m128i *high) {
    const __m128i even = _mm_mul_epu32(v, factor);
    const __m128i odd = _mm_mul_epu32(_mm_srli_epi64(v, 32), factor);
    *high = _mm_blend_epi16(_mm_srli_epi64(even, 32), odd, 0xcc);
    return _mm_blend_epi16(even, _mm_slli_epi64(odd, 32), 0xcc);
}
OX_INLINE vu vu_mul_wide(vu v, uint32_t m, vu *high) {
    const __m128i factor = _mm_set1_epi32((int32_t)m);
    vu low;
    low.a = vec_mul_wide(v.a, factor, &high->a);
    low.b = vec_mul_wide(v.b, factor, &high->b);
    low.c = vec_mul_wide(v.c, factor, &high->c);
    low.d = vec_mul_wide(v.d, factor, &high->d);
    return low;
}
OX_INLINE __m128 vec_half(__m128i v) { return _mm_cvtepi32_ps(_mm_srli_epi32(v, 1)); }
OX_INLINE vf vu_half(vu v) { return (vf){vec_half(v.a), vec_half(v.b), vec_half(v.c), vec_half(v.d)}; }
OX_INLINE __m128 vec_bits(__m128 x) { return _mm_cvtepi32_ps(_mm_castps_si128(x)); }
OX_INLINE vf vf_bits(vf x) { return (vf){vec_bits(x.a), vec_bits(x.b), vec_bits(x.c), vec_bits(x.d)}; }
OX_INLINE uint32_t vm_bits(vm m) {
    return (uint32_t)(_mm_movemask_ps(m.a) | _mm_movemask_ps(m.b) << 4 | _mm_movemask_ps(m.c) << 8
                      | _mm_movemask_ps(m.d) << 12);
}

#elif defined(OX_HAS_NEON)

typedef struct { uint32x4_t a, b, c, d; } vu;

OX_INLINE vu vu_set(uint32_t x) {
    const uint32x4_t v = vdupq_n_u32(x);
    return (vu){v, v, v, v};
}
OX_INLINE void vu_store(uint32_t *p, vu v) {
    vst1q_u32(p, v.a);
    vst1q_u32(p + 4, v.b);
    vst1q_u32(p + 8, v.c);
    vst1q_u32(p + 12, v.d);
}
OX_INLINE uint32x4_t vec_count(uint32_t x) {
    static const uint32_t lanes[4] = {0, 1, 2, 3};
    return vaddq_u32(vdupq_n_u32(x), vld1q_u32(lanes));
}
OX_INLINE vu vu_count(uint32_t x) { return (vu){vec_count(x), vec_count(x + 4), vec_count(x + 8), vec_count(x + 12)}; }
OX_INLINE vu vu_xor(vu x, vu y) {
    return (vu){veorq_u32(x.a, y.a), veorq_u32(x.b, y.b), veorq_u32(x.c, y.c), veorq_u32(x.d, y.d)};
}
OX_INLINE uint32x4_t vec_mul_wide(uint32x4_t v, uint32x4_t factor, uint32x4_t *high) {
    const uint32x4_t first = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(v), vget_low_u32(factor)));
    const uint32x4_t second = vreinterpretq_u32_u64(vmull_high_u32(v, factor));
    *high = vuzp2q_u32(first, second);
    return vuzp1q_u32(first, second);
}
OX_INLINE vu vu_mul_wide(vu v, uint32_t m, vu *high) {
    const uint32x4_t factor = vdupq_n_u32(m);
    vu low;
    low.a = vec_mul_wide(v.a, factor, &high->a);
    low.b = vec_mul_wide(v.b, factor, &high->b);
    low.c = vec_mul_wide(v.c, factor, &high->c);
    low.d = vec_mul_wide(v.d, factor, &high->d);
    return low;
}
OX_INLINE float32x4_t vec_half(uint32x4_t v) { return vcvtq_f32_u32(vshrq_n_u32(v, 1)); }
OX_INLINE vf vu_half(vu v) { return (vf){vec_half(v.a), vec_half(v.b), vec_half(v.c), vec_half(v.d)}; }
OX_INLINE float32x4_t vec_bits(float32x4_t x) { return vcvtq_f32_u32(vreinterpretq_u32_f32(x)); }
OX_INLINE vf vf_bits(vf x) { return (vf){vec_bits(x.a), vec_bits(x.b), vec_bits(x.c), vec_bits(x.d)}; }
OX_INLINE uint32_t vec_mask_bits(uint32x4_t m) {
    static const uint32_t lanes[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(m, vld1q_u32(lanes)));
}
OX_INLINE uint32_t vm_bits(vm m) {
    return vec_mask_bits(m.a) | vec_mask_bits(m.b) << 4 | vec_mask_bits(m.c) << 8 | vec_mask_bits(m.d) << 12;
}

#endif

#endif
