/* The integer side of vec/vec.h: sixteen int32 lanes, each a weight row, fed by lines of 16 rows x 4 bytes.
 *
 * vi                  16 int32: vi_set(x), vi_add, vi_negate, vi_shift_left(v, constant), vi_float(v) -> vf
 * vb                  a line, 64 bytes    vb_load, vb_store: aligned to 64    vb_zero()
 * vb_low, vb_high     the nibbles of every byte
 * vb_fifth(v, line, word)     v with bit `word` (a constant) of every byte of `line` as its bit 4
 * vb_dibit(v, line, c)        v with bits 2c, 2c + 1 of every byte of `line` as its bits 4, 5
 * vb_third(v, line, word)     v with bit `word` of every byte of `line` as its bit 2
 * vb_low_dibit(line, c)       bits 2c, 2c + 1 of every byte
 * vb_lookup(table, v)         the byte of a table of 16 for every byte of v, all below 16
 * vq                  four signed bytes (or two int16) repeated in all lanes: vq_load(p), unaligned
 * vn                  minus the sums of activations: vn_load(p) of 16 signed bytes, unaligned; vn_add; vn_word(v) as
 *                     one int32, from which vn_total(word) makes the sum. With OX_PAIR_SUMS the word is two int16, the
 *                     sums of the first and of the second two of every four bytes
 * vw                  16 rows x 2 int16: vw_load_u8(p) widens 32 bytes; vi_dot_words(sum, vw, vq)
 * vi_load_low_nibbles(p), vw_load_high_nibbles(p)   of 16 bytes; vi_dot_words() of the words and a vn_word() is the
 *                     product with the total: the nibble stands in both words of a lane with OX_PAIR_SUMS, else the
 *                     second is zero
 *
 * vf_dot_bf16(sum, vb, vq)   16 rows x 2 bfloat16 times two bfloat16, added to sum; only with OX_HAS_BF16. Per lane it
 *                     is sum = fma(second, second, sum), then fma(first, first, sum), subnormals counting as zero
 *
 * va is the running sum of (code - offset) * activation of one sub-block, 16 or 32 k, in whatever width the level
 * multiplies best:
 *
 *   va_begin(bits, offset, neg_sum)     neg_sum: a vn_word() of the sub-block's activations; offset: power of two or 0
 *   va_dot(bits, sum, line, vq)         adds four products per lane; codes are below 2^bits, or signed if bits is 8 and
 *                                       OX_SIGNED_BYTES
 *   va_end(bits, offset, sum, neg_sum)  the exact int32 sums
 *
 * bits and offset are compile-time constants: 8 bits with offset 128 or 0 if signed, 6 with 32 (16 k only), 5 with 16
 * or 0, 4 with any. */
#ifndef OX_VEC_INT_H
#define OX_VEC_INT_H

/* Levels without a product of bytes that adds to int32 add pairs of products in 16 bits, modulo 2^16. A sum may leave
 * the range on its way if it ends inside: codes from -2^(bits-1) to 2^(bits-1), activations in [-127, 127] and half
 * of the sub-block make at most 16 * 16 * 127 or 8 * 32 * 127 = 32512. So do 16 * 15 * 127 for nibbles without
 * offset; unsigned codes of 5 bits get an offset for the time of adding. A pair of products, at most 2 * 63 * 127,
 * never saturates. */
#if !defined(OX_HAS_AVX512) && !defined(OX_HAS_AVX_VNNI) && !defined(OX_HAS_NEON)
#  define OX_PAIR_SUMS
OX_INLINE int32_t ox_pairs_offset(const int32_t bits, const int32_t offset) { return bits == 5 ? 16 : offset; }
#endif

#if defined(OX_HAS_AVX512)
#  include "vec/int_avx512.h"
#elif defined(OX_HAS_AVX2)
#  include "vec/int_avx2.h"
#elif defined(OX_HAS_SSE41)
#  include "vec/int_sse41.h"
#elif defined(OX_HAS_NEON)
#  include "vec/int_neon.h"
#endif

#if defined(OX_PAIR_SUMS)
typedef struct { __m128i a; } vn;
OX_INLINE vn vn_load(const int8_t *p) {
    const __m128i pairs = _mm_maddubs_epi16(_mm_set1_epi8(1), _mm_loadu_si128((const __m128i *)p));
    return (vn){_mm_sub_epi16(_mm_setzero_si128(), pairs)};
}
OX_INLINE vn vn_add(vn x, vn y) { return (vn){_mm_add_epi16(x.a, y.a)}; }
OX_INLINE int32_t vn_word(vn v) {
    const __m128i two = _mm_add_epi16(v.a, _mm_srli_si128(v.a, 8));
    return _mm_cvtsi128_si32(_mm_add_epi16(two, _mm_srli_si128(two, 4)));
}
OX_INLINE int32_t vn_total(int32_t word) { return (int16_t)(word & 0xffff) + (word >> 16); }
#else
typedef int32_t vn;
#  if defined(OX_HAS_NEON)
OX_INLINE vn vn_load(const int8_t *p) { return -vaddlvq_s8(vld1q_s8(p)); }
#  else
OX_INLINE vn vn_load(const int8_t *p) {
    /* Only unsigned bytes are summed in one step: 128 more each. */
    const __m128i bytes = _mm_xor_si128(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8(-128));
    const __m128i halves = _mm_sad_epu8(bytes, _mm_setzero_si128());
    return 16 * 128 - (_mm_cvtsi128_si32(halves) + _mm_extract_epi16(halves, 4));
}
#  endif
OX_INLINE vn vn_add(vn x, vn y) { return x + y; }
OX_INLINE int32_t vn_word(vn v) { return v; }
OX_INLINE int32_t vn_total(int32_t word) { return word; }
#endif

#endif
