/* vec/int.h with AVX2: two ymm registers. Bytes multiply straight into int32 with AVX-VNNI, else into pairs of
 * int16. */
#ifndef OX_VEC_INT_AVX2_H
#define OX_VEC_INT_AVX2_H

typedef struct { __m256i a, b; } vi;
typedef struct { __m256i a, b; } vb;
typedef struct { __m256i a; } vq;
typedef struct { __m256i a, b; } vw;

OX_INLINE vi vi_set(int32_t x) {
    const __m256i v = _mm256_set1_epi32(x);
    return (vi){v, v};
}
OX_INLINE vi vi_add(vi x, vi y) { return (vi){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
OX_INLINE vi vi_negate(vi v) {
    const __m256i zero = _mm256_setzero_si256();
    return (vi){_mm256_sub_epi32(zero, v.a), _mm256_sub_epi32(zero, v.b)};
}
OX_INLINE vi vi_shift_left(vi v, const int32_t n) {
    return (vi){_mm256_slli_epi32(v.a, n), _mm256_slli_epi32(v.b, n)};
}
OX_INLINE vf vi_float(vi v) { return (vf){_mm256_cvtepi32_ps(v.a), _mm256_cvtepi32_ps(v.b)}; }

OX_INLINE vb vb_zero(void) {
    const __m256i zero = _mm256_setzero_si256();
    return (vb){zero, zero};
}
OX_INLINE vb vb_load(const uint8_t *p) {
    return (vb){_mm256_load_si256((const __m256i *)p), _mm256_load_si256((const __m256i *)(p + 32))};
}
OX_INLINE void vb_store(uint8_t *p, vb v) {
    _mm256_store_si256((__m256i *)p, v.a);
    _mm256_store_si256((__m256i *)(p + 32), v.b);
}
OX_INLINE vb vb_low(vb v) {
    const __m256i mask = _mm256_set1_epi8(0x0f);
    return (vb){_mm256_and_si256(v.a, mask), _mm256_and_si256(v.b, mask)};
}
OX_INLINE vb vb_high(vb v) {
    return vb_low((vb){_mm256_srli_epi16(v.a, 4), _mm256_srli_epi16(v.b, 4)});
}

OX_INLINE __m256i vec_merge(__m256i v, __m256i line, const int32_t left, const int8_t mask) {
    const __m256i shifted = left > 0   ? _mm256_slli_epi16(line, left)
                            : left < 0 ? _mm256_srli_epi16(line, -left)
                                       : line;
    return _mm256_or_si256(v, _mm256_and_si256(shifted, _mm256_set1_epi8(mask)));
}
OX_INLINE vb vb_fifth(vb v, vb line, const int32_t word) {
    return (vb){vec_merge(v.a, line.a, 4 - word, 0x10), vec_merge(v.b, line.b, 4 - word, 0x10)};
}
OX_INLINE vb vb_dibit(vb v, vb line, const int32_t c) {
    return (vb){vec_merge(v.a, line.a, 4 - 2 * c, 0x30), vec_merge(v.b, line.b, 4 - 2 * c, 0x30)};
}

OX_INLINE vb vb_third(vb v, vb line, const int32_t word) {
    return (vb){vec_merge(v.a, line.a, 2 - word, 0x04), vec_merge(v.b, line.b, 2 - word, 0x04)};
}
OX_INLINE vb vb_low_dibit(vb line, const int32_t c) {
    const __m256i mask = _mm256_set1_epi8(3);
    return (vb){_mm256_and_si256(_mm256_srli_epi16(line.a, 2 * c), mask),
                _mm256_and_si256(_mm256_srli_epi16(line.b, 2 * c), mask)};
}
OX_INLINE vb vb_lookup(const void *table, vb v) {
    const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(table));
    return (vb){_mm256_shuffle_epi8(both, v.a), _mm256_shuffle_epi8(both, v.b)};
}

OX_INLINE vq vq_load(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return (vq){_mm256_set1_epi32(word)};
}
OX_INLINE vw vw_load_u8(const uint8_t *p) {
    return (vw){_mm256_cvtepu8_epi16(_mm_load_si128((const __m128i *)p)),
                _mm256_cvtepu8_epi16(_mm_load_si128((const __m128i *)(p + 16)))};
}
OX_INLINE __m256i vec_widen_8(const uint8_t *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
OX_INLINE vi vi_load_low_nibbles(const uint8_t *p) {
    const __m256i mask = _mm256_set1_epi32(0x0f);
    return (vi){_mm256_and_si256(vec_widen_8(p), mask), _mm256_and_si256(vec_widen_8(p + 8), mask)};
}
OX_INLINE __m256i vec_high_nibbles(const uint8_t *p) {
    const __m256i nibbles = _mm256_srli_epi32(vec_widen_8(p), 4);
#if defined(OX_PAIR_SUMS)
    return _mm256_or_si256(nibbles, _mm256_slli_epi32(nibbles, 16));
#else
    return nibbles;
#endif
}
OX_INLINE vw vw_load_high_nibbles(const uint8_t *p) { return (vw){vec_high_nibbles(p), vec_high_nibbles(p + 8)}; }
OX_INLINE vi vi_dot_words(vi sum, vw w, vq x) {
    return (vi){_mm256_add_epi32(sum.a, _mm256_madd_epi16(w.a, x.a)),
                _mm256_add_epi32(sum.b, _mm256_madd_epi16(w.b, x.a))};
}

#if defined(OX_HAS_AVX_VNNI)

typedef vi va;
OX_INLINE va va_begin(const int32_t bits, const int32_t offset, const int32_t *neg_sum) {
    (void)bits;
    return offset == 0 ? vi_set(0) : vi_shift_left(vi_set(*neg_sum), __builtin_ctz((unsigned)offset));
}
OX_INLINE va va_dot(const int32_t bits, va sum, vb w, vq x) {
    (void)bits;
    return (va){_mm256_dpbusd_avx_epi32(sum.a, w.a, x.a), _mm256_dpbusd_avx_epi32(sum.b, w.b, x.a)};
}
OX_INLINE vi va_end(const int32_t bits, const int32_t offset, va sum, const int32_t *neg_sum) {
    (void)bits;
    (void)offset;
    (void)neg_sum;
    return sum;
}

#else

typedef struct { __m256i a, b; } va; /* int16 sums of pairs of products; int32 sums with 8 bits */
OX_INLINE va va_begin(const int32_t bits, const int32_t offset, const int32_t *neg_sum) {
    const int32_t least = ox_pairs_offset(bits, offset);
    const __m256i v = least == 0 ? _mm256_setzero_si256()
                                 : _mm256_slli_epi16(vq_load(neg_sum).a, __builtin_ctz((unsigned)least));
    return (va){v, v};
}
/* Holds a running sum in place. GCC would regroup the additions of all steps into a tree, and spill every product. */
OX_INLINE __m256i vec_in_order(__m256i sum) {
    __asm__("" : "+x"(sum));
    return sum;
}
OX_INLINE __m256i vec_widen(__m256i pairs) { return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)); }
OX_INLINE __m256i vec_dot_bytes(const int32_t bits, __m256i sum, __m256i w, __m256i x) {
    if (bits == 8) {  /* signed weights: the sign moves to the activation, since one factor must be unsigned */
        const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
        return vec_in_order(_mm256_add_epi32(sum, vec_widen(pairs)));
    }
    return vec_in_order(_mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x)));
}
OX_INLINE va va_dot(const int32_t bits, va sum, vb w, vq x) {
    return (va){vec_dot_bytes(bits, sum.a, w.a, x.a), vec_dot_bytes(bits, sum.b, w.b, x.a)};
}
OX_INLINE vi va_end(const int32_t bits, const int32_t offset, va sum, const int32_t *neg_sum) {
    if (bits == 8) {
        return (vi){sum.a, sum.b};
    }
    const vi total = {vec_widen(sum.a), vec_widen(sum.b)};
    const int32_t excess = ox_pairs_offset(bits, offset) - offset;
    if (excess == 0) {
        return total;
    }
    const __m256i added = _mm256_madd_epi16(vq_load(neg_sum).a, _mm256_set1_epi16((int16_t)-excess));
    return vi_add(total, (vi){added, added});
}

#endif

#endif
