/* vec/int.h with VNNI: one zmm register, unsigned x signed bytes straight into int32. */
#ifndef OX_VEC_INT_AVX512_H
#define OX_VEC_INT_AVX512_H

typedef struct { __m512i a; } vi;
typedef struct { __m512i a; } vb;
typedef struct { __m512i a; } vq;
typedef struct { __m512i a; } vw;
typedef vi va;

OX_INLINE vi vi_set(int32_t x) { return (vi){_mm512_set1_epi32(x)}; }
OX_INLINE vi vi_add(vi x, vi y) { return (vi){_mm512_add_epi32(x.a, y.a)}; }
OX_INLINE vi vi_negate(vi v) { return (vi){_mm512_sub_epi32(_mm512_setzero_si512(), v.a)}; }
OX_INLINE vi vi_shift_left(vi v, const int32_t n) { return (vi){_mm512_slli_epi32(v.a, (unsigned)n)}; }
OX_INLINE vf vi_float(vi v) { return (vf){_mm512_cvtepi32_ps(v.a)}; }

OX_INLINE vb vb_zero(void) { return (vb){_mm512_setzero_si512()}; }
OX_INLINE vb vb_load(const uint8_t *p) { return (vb){_mm512_load_si512(p)}; }
OX_INLINE void vb_store(uint8_t *p, vb v) { _mm512_store_si512(p, v.a); }
OX_INLINE vb vb_low(vb v) { return (vb){_mm512_and_si512(v.a, _mm512_set1_epi8(0x0f))}; }
OX_INLINE vb vb_high(vb v) { return (vb){_mm512_and_si512(_mm512_srli_epi16(v.a, 4), _mm512_set1_epi8(0x0f))}; }

/* v | (shifted & mask) in one ternary operation */
OX_INLINE vb vec_merge(vb v, vb line, const int32_t left, const int8_t mask) {
    const __m512i shifted = left > 0   ? _mm512_slli_epi16(line.a, (unsigned)left)
                            : left < 0 ? _mm512_srli_epi16(line.a, (unsigned)-left)
                                       : line.a;
    return (vb){_mm512_ternarylogic_epi32(v.a, shifted, _mm512_set1_epi8(mask), 0xf8)};
}
OX_INLINE vb vb_fifth(vb v, vb line, const int32_t word) { return vec_merge(v, line, 4 - word, 0x10); }
OX_INLINE vb vb_dibit(vb v, vb line, const int32_t c) { return vec_merge(v, line, 4 - 2 * c, 0x30); }
OX_INLINE vb vb_third(vb v, vb line, const int32_t word) { return vec_merge(v, line, 2 - word, 0x04); }
OX_INLINE vb vb_low_dibit(vb line, const int32_t c) {
    return (vb){_mm512_and_si512(_mm512_srli_epi16(line.a, (unsigned)(2 * c)), _mm512_set1_epi8(3))};
}
OX_INLINE vb vb_lookup(const void *table, vb v) {
    return (vb){_mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table)), v.a)};
}

OX_INLINE vq vq_load(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return (vq){_mm512_set1_epi32(word)};
}
OX_INLINE vw vw_load_u8(const uint8_t *p) {
    return (vw){_mm512_cvtepu8_epi16(_mm256_load_si256((const __m256i *)p))};
}
OX_INLINE __m512i vec_widen_16(const uint8_t *p) {
    return _mm512_cvtepu8_epi32(_mm_load_si128((const __m128i *)p));
}
OX_INLINE vi vi_load_low_nibbles(const uint8_t *p) {
    return (vi){_mm512_and_si512(vec_widen_16(p), _mm512_set1_epi32(0x0f))};
}
OX_INLINE vw vw_load_high_nibbles(const uint8_t *p) { return (vw){_mm512_srli_epi32(vec_widen_16(p), 4)}; }
OX_INLINE vi vi_dot_words(vi sum, vw w, vq x) { return (vi){_mm512_dpwssd_epi32(sum.a, w.a, x.a)}; }

#if defined(OX_HAS_BF16)
OX_INLINE vf vf_dot_bf16(vf sum, vb w, vq x) { return (vf){_mm512_dpbf16_ps(sum.a, (__m512bh)w.a, (__m512bh)x.a)}; }
#endif

OX_INLINE va va_begin(const int32_t bits, const int32_t offset, const int32_t *neg_sum) {
    (void)bits;
    return offset == 0 ? vi_set(0) : vi_shift_left(vi_set(*neg_sum), __builtin_ctz((unsigned)offset));
}
OX_INLINE va va_dot(const int32_t bits, va sum, vb w, vq x) {
    (void)bits;
    return (va){_mm512_dpbusd_epi32(sum.a, w.a, x.a)};
}
OX_INLINE vi va_end(const int32_t bits, const int32_t offset, va sum, const int32_t *neg_sum) {
    (void)bits;
    (void)offset;
    (void)neg_sum;
    return sum;
}

#endif
