/* vec/vec.h for x86-64-v2 (SSE4.1, no FMA, no F16C): four xmm registers. Included by vec/vec.h only, which documents
 * the operations. Each is written for one register (vec_*) and applied to the four by a macro. */
#ifndef OX_VEC_SSE41_H
#define OX_VEC_SSE41_H

typedef struct { __m128 a, b, c, d; } vf;
typedef struct { __m128 a, b, c, d; } vm; /* a lane is all ones or all zeros */

#define VEC_1(type, f, x) (type){f((x).a), f((x).b), f((x).c), f((x).d)}
#define VEC_2(type, f, x, y) (type){f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)}

static inline vf vf_set(float x) {
    const __m128 v = _mm_set1_ps(x);
    return (vf){v, v, v, v};
}
static inline vf vf_zero(void) { return vf_set(0.0f); }
static inline vf vf_load(const float *p) {
    return (vf){_mm_loadu_ps(p), _mm_loadu_ps(p + 4), _mm_loadu_ps(p + 8), _mm_loadu_ps(p + 12)};
}
static inline void vf_store(float *p, vf v) {
    _mm_storeu_ps(p, v.a);
    _mm_storeu_ps(p + 4, v.b);
    _mm_storeu_ps(p + 8, v.c);
    _mm_storeu_ps(p + 12, v.d);
}

static inline __m128 vec_first(int32_t n) {
    return _mm_castsi128_ps(_mm_cmpgt_epi32(_mm_set1_epi32(n), _mm_setr_epi32(0, 1, 2, 3)));
}
static inline vm vm_first(int32_t n) {
    return (vm){vec_first(n), vec_first(n - 4), vec_first(n - 8), vec_first(n - 12)};
}
static inline vm vm_and(vm x, vm y) { return VEC_2(vm, _mm_and_ps, x, y); }
static inline vm vm_or(vm x, vm y) { return VEC_2(vm, _mm_or_ps, x, y); }
static inline vm vm_andnot(vm x, vm y) { return VEC_2(vm, _mm_andnot_ps, y, x); }
static inline int32_t vm_any(vm x) {
    return _mm_movemask_ps(_mm_or_ps(_mm_or_ps(x.a, x.b), _mm_or_ps(x.c, x.d))) != 0;
}
static inline vm vf_lt(vf x, vf y) { return VEC_2(vm, _mm_cmplt_ps, x, y); }
static inline vm vf_isnan(vf x) { return VEC_2(vm, _mm_cmpunord_ps, x, x); }
static inline vf vf_select(vm m, vf yes, vf no) {
    return (vf){_mm_blendv_ps(no.a, yes.a, m.a), _mm_blendv_ps(no.b, yes.b, m.b), _mm_blendv_ps(no.c, yes.c, m.c),
                _mm_blendv_ps(no.d, yes.d, m.d)};
}

static inline vf vf_load_n(const float *p, int32_t n) {
    float lanes[16] = {0};
    memcpy(lanes, p, (size_t)(n < 0 ? 0 : n < 16 ? n : 16) * sizeof(float));
    return vf_load(lanes);
}
static inline void vf_store_n(float *p, vf v, int32_t n) {
    float lanes[16];
    vf_store(lanes, v);
    memcpy(p, lanes, (size_t)(n < 0 ? 0 : n < 16 ? n : 16) * sizeof(float));
}

static inline vf vf_add(vf x, vf y) { return VEC_2(vf, _mm_add_ps, x, y); }
static inline vf vf_sub(vf x, vf y) { return VEC_2(vf, _mm_sub_ps, x, y); }
static inline vf vf_mul(vf x, vf y) { return VEC_2(vf, _mm_mul_ps, x, y); }
static inline vf vf_div(vf x, vf y) { return VEC_2(vf, _mm_div_ps, x, y); }
static inline vf vf_fma(vf x, vf y, vf z) { return vf_add(vf_mul(x, y), z); }
static inline vf vf_max(vf x, vf y) { return VEC_2(vf, _mm_max_ps, x, y); }
static inline vf vf_min(vf x, vf y) { return VEC_2(vf, _mm_min_ps, x, y); }
static inline __m128 vec_neg(__m128 x) { return _mm_xor_ps(x, _mm_set1_ps(-0.0f)); }
static inline vf vf_neg(vf x) { return VEC_1(vf, vec_neg, x); }
static inline __m128 vec_round(__m128 x) { return _mm_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vf vf_round(vf x) { return VEC_1(vf, vec_round, x); }
static inline __m128 vec_add_exponent(__m128 x, __m128 n) {
    return _mm_castsi128_ps(_mm_add_epi32(_mm_castps_si128(x), _mm_slli_epi32(_mm_cvtps_epi32(n), 23)));
}
static inline vf vf_add_exponent(vf x, vf n) { return VEC_2(vf, vec_add_exponent, x, n); }

/* The formulas of half.h with selects instead of branches. */
static inline __m128 vec_load_f16(const uint16_t *p) {
    const __m128i h = _mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)p));
    const __m128i magnitude = _mm_and_si128(h, _mm_set1_epi32(0x7fff));
    const __m128i sign = _mm_slli_epi32(_mm_and_si128(h, _mm_set1_epi32(0x8000)), 16);
    const __m128i special = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7bff));
    const __m128i nan = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7c00));
    const __m128i bias = _mm_add_epi32(_mm_set1_epi32(112 << 23), _mm_and_si128(special, _mm_set1_epi32(112 << 23)));
    __m128i normal = _mm_add_epi32(_mm_slli_epi32(magnitude, 13), bias);
    normal = _mm_or_si128(normal, _mm_and_si128(nan, _mm_set1_epi32(0x400000)));
    const __m128 tiny = _mm_mul_ps(_mm_cvtepi32_ps(magnitude), _mm_set1_ps(0x1p-24f));
    const __m128i is_tiny = _mm_cmpgt_epi32(_mm_set1_epi32(0x400), magnitude);
    const __m128 value = _mm_blendv_ps(_mm_castsi128_ps(normal), tiny, _mm_castsi128_ps(is_tiny));
    return _mm_or_ps(value, _mm_castsi128_ps(sign));
}
static inline vf vf_load_f16(const uint16_t *p) {
    return (vf){vec_load_f16(p), vec_load_f16(p + 4), vec_load_f16(p + 8), vec_load_f16(p + 12)};
}
static inline __m128i vec_to_f16(__m128 v) {
    const __m128i bits = _mm_castps_si128(v);
    const __m128i sign = _mm_and_si128(_mm_srli_epi32(bits, 16), _mm_set1_epi32(0x8000));
    const __m128i magnitude = _mm_and_si128(bits, _mm_set1_epi32(0x7fffffff));
    const __m128i odd = _mm_and_si128(_mm_srli_epi32(magnitude, 13), _mm_set1_epi32(1));
    __m128i out = _mm_sub_epi32(_mm_add_epi32(magnitude, odd), _mm_set1_epi32(0x38000000 - 0xfff));
    out = _mm_srli_epi32(out, 13);
    const __m128i is_normal_float = _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x007fffff));
    const __m128 half = _mm_set1_ps(0.5f);
    const __m128 shifted = _mm_add_ps(_mm_castsi128_ps(_mm_and_si128(magnitude, is_normal_float)), half);
    const __m128i tiny = _mm_sub_epi32(_mm_castps_si128(shifted), _mm_castps_si128(half));
    out = _mm_blendv_epi8(out, tiny, _mm_cmpgt_epi32(_mm_set1_epi32(0x38800000), magnitude));
    out = _mm_blendv_epi8(out, _mm_set1_epi32(0x7c00), _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x477fefff)));
    const __m128i payload = _mm_and_si128(_mm_srli_epi32(magnitude, 13), _mm_set1_epi32(0x3ff));
    const __m128i nan = _mm_or_si128(payload, _mm_set1_epi32(0x7e00));
    out = _mm_blendv_epi8(out, nan, _mm_cmpgt_epi32(magnitude, _mm_set1_epi32(0x7f800000)));
    return _mm_or_si128(out, sign);
}
static inline void vf_store_f16(uint16_t *p, vf v) {
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(vec_to_f16(v.a), vec_to_f16(v.b)));
    _mm_storeu_si128((__m128i *)(p + 8), _mm_packus_epi32(vec_to_f16(v.c), vec_to_f16(v.d)));
}
static inline __m128 vec_load_bf16(const uint16_t *p) {
    return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64((const __m128i *)p)));
}
static inline vf vf_load_bf16(const uint16_t *p) {
    return (vf){vec_load_bf16(p), vec_load_bf16(p + 4), vec_load_bf16(p + 8), vec_load_bf16(p + 12)};
}
static inline __m128i vec_to_bf16(__m128 v) {
    const __m128i bits = _mm_castps_si128(v);
    const __m128i high = _mm_srli_epi32(bits, 16);
    const __m128i odd = _mm_and_si128(high, _mm_set1_epi32(1));
    const __m128i rounded = _mm_add_epi32(bits, _mm_add_epi32(odd, _mm_set1_epi32(0x7fff)));
    const __m128i quiet = _mm_or_si128(high, _mm_set1_epi32(0x40));
    return _mm_blendv_epi8(_mm_srli_epi32(rounded, 16), quiet, _mm_castps_si128(_mm_cmpunord_ps(v, v)));
}
static inline void vf_store_bf16(uint16_t *p, vf v) {
    _mm_storeu_si128((__m128i *)p, _mm_packus_epi32(vec_to_bf16(v.a), vec_to_bf16(v.b)));
    _mm_storeu_si128((__m128i *)(p + 8), _mm_packus_epi32(vec_to_bf16(v.c), vec_to_bf16(v.d)));
}
static inline __m128 vec_load_i8(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm_cvtepi32_ps(_mm_cvtepi8_epi32(_mm_cvtsi32_si128(four)));
}
static inline vf vf_load_i8(const int8_t *p) {
    return (vf){vec_load_i8(p), vec_load_i8(p + 4), vec_load_i8(p + 8), vec_load_i8(p + 12)};
}
static inline void vf_store_i8(int8_t *p, vf v) {
    const __m128i low = _mm_packs_epi32(_mm_cvtps_epi32(v.a), _mm_cvtps_epi32(v.b));
    const __m128i high = _mm_packs_epi32(_mm_cvtps_epi32(v.c), _mm_cvtps_epi32(v.d));
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(low, high));
}

static inline float vf_sum(vf v) {
    const __m128 four = _mm_add_ps(_mm_add_ps(v.a, v.c), _mm_add_ps(v.b, v.d));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float vf_reduce_max(vf v) {
    const __m128 four = _mm_max_ps(_mm_max_ps(v.a, v.c), _mm_max_ps(v.b, v.d));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#undef VEC_1
#undef VEC_2

#endif
