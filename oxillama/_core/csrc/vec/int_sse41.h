/* vec/int.h with SSE4.1 and SSSE3: four xmm registers. Each operation is written for one register (vec_*) and applied
 * to the four. */
#ifndef OX_VEC_INT_SSE41_H
#define OX_VEC_INT_SSE41_H

#define VEC_INT_1(type, f, x) (type){f((x).a), f((x).b), f((x).c), f((x).d)}
#define VEC_INT_2(type, f, x, y) (type){f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)}

typedef struct { __m128i a, b, c, d; } vi;
typedef struct { __m128i a, b, c, d; } vb;
typedef struct { __m128i a; } vq;
typedef struct { __m128i a, b, c, d; } vw;
typedef vi va; /* int16 sums of pairs of products; int32 sums with 8 bits */

OX_INLINE vi vi_set(int32_t x) {
    const __m128i v = _mm_set1_epi32(x);
    return (vi){v, v, v, v};
}
OX_INLINE vi vi_add(vi x, vi y) { return VEC_INT_2(vi, _mm_add_epi32, x, y); }
OX_INLINE __m128i vec_negate(__m128i v) { return _mm_sub_epi32(_mm_setzero_si128(), v); }
OX_INLINE vi vi_negate(vi v) { return VEC_INT_1(vi, vec_negate, v); }
OX_INLINE vi vi_shift_left(vi v, const int32_t n) {
    return (vi){_mm_slli_epi32(v.a, n), _mm_slli_epi32(v.b, n), _mm_slli_epi32(v.c, n), _mm_slli_epi32(v.d, n)};
}
OX_INLINE vf vi_float(vi v) { return VEC_INT_1(vf, _mm_cvtepi32_ps, v); }

OX_INLINE vb vb_zero(void) {
    const __m128i zero = _mm_setzero_si128();
    return (vb){zero, zero, zero, zero};
}
OX_INLINE vb vb_load(const uint8_t *p) {
    const __m128i *line = (const __m128i *)p;
    return (vb){_mm_load_si128(line), _mm_load_si128(line + 1), _mm_load_si128(line + 2), _mm_load_si128(line + 3)};
}
OX_INLINE void vb_store(uint8_t *p, vb v) {
    __m128i *line = (__m128i *)p;
    _mm_store_si128(line, v.a);
    _mm_store_si128(line + 1, v.b);
    _mm_store_si128(line + 2, v.c);
    _mm_store_si128(line + 3, v.d);
}
OX_INLINE __m128i vec_low(__m128i v) { return _mm_and_si128(v, _mm_set1_epi8(0x0f)); }
OX_INLINE __m128i vec_high(__m128i v) { return vec_low(_mm_srli_epi16(v, 4)); }
OX_INLINE vb vb_low(vb v) { return VEC_INT_1(vb, vec_low, v); }
OX_INLINE vb vb_high(vb v) { return VEC_INT_1(vb, vec_high, v); }

OX_INLINE __m128i vec_merge(__m128i v, __m128i line, const int32_t left, const int8_t mask) {
    const __m128i shifted = left > 0 ? _mm_slli_epi16(line, left) : left < 0 ? _mm_srli_epi16(line, -left) : line;
    return _mm_or_si128(v, _mm_and_si128(shifted, _mm_set1_epi8(mask)));
}
OX_INLINE vb vec_merge_line(vb v, vb line, const int32_t left, const int8_t mask) {
    return (vb){vec_merge(v.a, line.a, left, mask), vec_merge(v.b, line.b, left, mask),
                vec_merge(v.c, line.c, left, mask), vec_merge(v.d, line.d, left, mask)};
}
OX_INLINE vb vb_fifth(vb v, vb line, const int32_t word) { return vec_merge_line(v, line, 4 - word, 0x10); }
OX_INLINE vb vb_dibit(vb v, vb line, const int32_t c) { return vec_merge_line(v, line, 4 - 2 * c, 0x30); }

OX_INLINE vb vb_third(vb v, vb line, const int32_t word) { return vec_merge_line(v, line, 2 - word, 0x04); }
OX_INLINE vb vb_low_dibit(vb line, const int32_t c) {
    const __m128i mask = _mm_set1_epi8(3);
    return (vb){_mm_and_si128(_mm_srli_epi16(line.a, 2 * c), mask), _mm_and_si128(_mm_srli_epi16(line.b, 2 * c), mask),
                _mm_and_si128(_mm_srli_epi16(line.c, 2 * c), mask), _mm_and_si128(_mm_srli_epi16(line.d, 2 * c), mask)};
}
OX_INLINE vb vb_lookup(const void *table, vb v) {
    const __m128i bytes = _mm_loadu_si128(table);
    return (vb){_mm_shuffle_epi8(bytes, v.a), _mm_shuffle_epi8(bytes, v.b), _mm_shuffle_epi8(bytes, v.c),
                _mm_shuffle_epi8(bytes, v.d)};
}

OX_INLINE vq vq_load(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return (vq){_mm_set1_epi32(word)};
}
OX_INLINE vw vw_load_u8(const uint8_t *p) {
    return (vw){_mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)p)),
                _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(p + 8))),
                _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(p + 16))),
                _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(p + 24)))};
}
OX_INLINE __m128i vec_widen_4(const uint8_t *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return _mm_cvtepu8_epi32(_mm_cvtsi32_si128(word));
}
OX_INLINE __m128i vec_low_nibbles(const uint8_t *p) { return _mm_and_si128(vec_widen_4(p), _mm_set1_epi32(0x0f)); }
OX_INLINE vi vi_load_low_nibbles(const uint8_t *p) {
    return (vi){vec_low_nibbles(p), vec_low_nibbles(p + 4), vec_low_nibbles(p + 8), vec_low_nibbles(p + 12)};
}
OX_INLINE __m128i vec_high_nibbles_twice(const uint8_t *p) {
    const __m128i nibbles = _mm_srli_epi32(vec_widen_4(p), 4);
    return _mm_or_si128(nibbles, _mm_slli_epi32(nibbles, 16));
}
OX_INLINE vw vw_load_high_nibbles(const uint8_t *p) {
    return (vw){vec_high_nibbles_twice(p), vec_high_nibbles_twice(p + 4), vec_high_nibbles_twice(p + 8),
                vec_high_nibbles_twice(p + 12)};
}
OX_INLINE vi vi_dot_words(vi sum, vw w, vq x) {
    const vi products = {_mm_madd_epi16(w.a, x.a), _mm_madd_epi16(w.b, x.a), _mm_madd_epi16(w.c, x.a),
                         _mm_madd_epi16(w.d, x.a)};
    return vi_add(sum, products);
}

OX_INLINE va va_begin(const int32_t bits, const int32_t offset, const int32_t *neg_sum) {
    const int32_t least = ox_pairs_offset(bits, offset);
    const __m128i v = least == 0 ? _mm_setzero_si128()
                                 : _mm_slli_epi16(vq_load(neg_sum).a, __builtin_ctz((unsigned)least));
    return (va){v, v, v, v};
}
/* Holds a running sum in place. GCC would regroup the additions of all steps into a tree, and spill every product. */
OX_INLINE __m128i vec_in_order(__m128i sum) {
    __asm__("" : "+x"(sum));
    return sum;
}
OX_INLINE __m128i vec_widen(__m128i pairs) { return _mm_madd_epi16(pairs, _mm_set1_epi16(1)); }
OX_INLINE __m128i vec_dot_bytes(const int32_t bits, __m128i sum, __m128i w, __m128i x) {
    if (bits == 8) {  /* signed weights: the sign moves to the activation, since one factor must be unsigned */
        const __m128i pairs = _mm_maddubs_epi16(_mm_abs_epi8(w), _mm_sign_epi8(x, w));
        return vec_in_order(_mm_add_epi32(sum, vec_widen(pairs)));
    }
    return vec_in_order(_mm_add_epi16(sum, _mm_maddubs_epi16(w, x)));
}
OX_INLINE va va_dot(const int32_t bits, va sum, vb w, vq x) {
    return (va){vec_dot_bytes(bits, sum.a, w.a, x.a), vec_dot_bytes(bits, sum.b, w.b, x.a),
                vec_dot_bytes(bits, sum.c, w.c, x.a), vec_dot_bytes(bits, sum.d, w.d, x.a)};
}
OX_INLINE vi va_end(const int32_t bits, const int32_t offset, va sum, const int32_t *neg_sum) {
    if (bits == 8) {
        return sum;
    }
    const vi total = VEC_INT_1(vi, vec_widen, sum);
    const int32_t excess = ox_pairs_offset(bits, offset) - offset;
    if (excess == 0) {
        return total;
    }
    const __m128i added = _mm_madd_epi16(vq_load(neg_sum).a, _mm_set1_epi16((int16_t)-excess));
    return vi_add(total, (vi){added, added, added, added});
}

#endif
