/* vec/vec.h for AVX-512 F/BW/VL/DQ: one zmm register. Included by vec/vec.h only, which documents the operations. */
#ifndef OX_VEC_AVX512_H
#define OX_VEC_AVX512_H

typedef struct { __m512 a; } vf;
typedef struct { __mmask16 a; } vm;

static inline vf vf_zero(void) { return (vf){_mm512_setzero_ps()}; }
static inline vf vf_set(float x) { return (vf){_mm512_set1_ps(x)}; }
static inline vf vf_load(const float *p) { return (vf){_mm512_loadu_ps(p)}; }
static inline void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v.a); }

static inline vm vm_first(int32_t n) { return (vm){n <= 0 ? 0 : (__mmask16)(0xffffu >> (n < 16 ? 16 - n : 0))}; }
static inline vm vm_and(vm x, vm y) { return (vm){(__mmask16)(x.a & y.a)}; }
static inline vm vm_or(vm x, vm y) { return (vm){(__mmask16)(x.a | y.a)}; }
static inline vm vm_andnot(vm x, vm y) { return (vm){(__mmask16)(x.a & ~y.a)}; }
static inline int32_t vm_any(vm x) { return x.a != 0; }
static inline vm vf_lt(vf x, vf y) { return (vm){_mm512_cmp_ps_mask(x.a, y.a, _CMP_LT_OQ)}; }
static inline vm vf_isnan(vf x) { return (vm){_mm512_cmp_ps_mask(x.a, x.a, _CMP_UNORD_Q)}; }
static inline vf vf_select(vm m, vf yes, vf no) { return (vf){_mm512_mask_blend_ps(m.a, no.a, yes.a)}; }

static inline vf vf_load_n(const float *p, int32_t n) { return (vf){_mm512_maskz_loadu_ps(vm_first(n).a, p)}; }
static inline void vf_store_n(float *p, vf v, int32_t n) { _mm512_mask_storeu_ps(p, vm_first(n).a, v.a); }

static inline vf vf_add(vf x, vf y) { return (vf){_mm512_add_ps(x.a, y.a)}; }
static inline vf vf_sub(vf x, vf y) { return (vf){_mm512_sub_ps(x.a, y.a)}; }
static inline vf vf_mul(vf x, vf y) { return (vf){_mm512_mul_ps(x.a, y.a)}; }
static inline vf vf_div(vf x, vf y) { return (vf){_mm512_div_ps(x.a, y.a)}; }
static inline vf vf_fma(vf x, vf y, vf z) { return (vf){_mm512_fmadd_ps(x.a, y.a, z.a)}; }
static inline vf vf_max(vf x, vf y) { return (vf){_mm512_max_ps(x.a, y.a)}; }
static inline vf vf_min(vf x, vf y) { return (vf){_mm512_min_ps(x.a, y.a)}; }
static inline vf vf_neg(vf x) { return (vf){_mm512_xor_ps(x.a, _mm512_set1_ps(-0.0f))}; }
static inline vf vf_round(vf x) {
    return (vf){_mm512_roundscale_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
static inline vf vf_add_exponent(vf x, vf n) {
    const __m512i shift = _mm512_slli_epi32(_mm512_cvtps_epi32(n.a), 23);
    return (vf){_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.a), shift))};
}

static inline vf vf_load_f16(const uint16_t *p) {
    return (vf){_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p))};
}
static inline void vf_store_f16(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
static inline vf vf_load_bf16(const uint16_t *p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return (vf){_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
static inline void vf_store_bf16(uint16_t *p, vf v) {
    const __m512i bits = _mm512_castps_si512(v.a);
    const __m512i high = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __m512i quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
    const __m512i out = _mm512_mask_blend_epi32(vf_isnan(v).a, _mm512_srli_epi32(rounded, 16), quiet);
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(out));
}
static inline vf vf_load_i8(const int8_t *p) {
    return (vf){_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)))};
}

static inline void vf_store_i8(int8_t *p, vf v) {
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v.a)));
}

/* Lane i of 8 = lane i of x op lane i + 8 of x. */
static inline __m256 vec_high(vf v) { return _mm512_extractf32x8_ps(v.a, 1); }
static inline float vf_sum(vf v) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v.a), vec_high(v));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float vf_reduce_max(vf v) {
    const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(v.a), vec_high(v));
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#endif
