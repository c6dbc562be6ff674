/* The integer side of vec.h: sixteen int32 lanes, each a weight row, fed by lines of 16 rows x 4 bytes.
 *
 * vi                  16 int32            vi_set(x)   vi_add   vi_negate   vi_shift_left(v, constant)   vi_float(v) -> vf
 * vb                  a line, 64 bytes    vb_load, vb_store: aligned to 64
 * vb_low, vb_high     the nibbles of every byte
 * vb_fifth(v, line, quad)     v with bit `quad` (a constant) of every byte of `line` as its bit 4
 * vb_crumb(v, line, c)        v with bits 2c, 2c + 1 of every byte of `line` as its bits 4, 5
 * vb_third(v, line, quad)     v with bit `quad` of every byte of `line` as its bit 2
 * vb_low_crumb(line, c)       bits 2c, 2c + 1 of every byte
 * vb_lookup(table, v)         the byte of a table of 16 for every byte of v, all below 16
 * vq                  four signed bytes (or two int16) repeated in all lanes: vq_load(p), unaligned
 * vec_sum_i8(p)       the sum of 16 signed bytes, unaligned
 * vw                  16 rows x 2 int16: vw_load_u8(p) widens 32 bytes; vi_dot_words(sum, vw, vq)
 * vi_load_low_nibbles(p), vw_load_high_nibbles(p)   of 16 bytes; as words the second of each two is zero
 *
 * vf_dot_bf16(sum, vb, vq)   16 rows x 2 bfloat16 times two bfloat16, added to sum; only with OX_HAS_BF16. Per lane it is
 *                     sum = fma(second, second, sum), then fma(first, first, sum), subnormals counting as zero
 *
 * va is the running sum of the products of one sub-block, at most 32 k, in whatever width the level multiplies best:
 *
 *   va_begin(bits, first)               `first` (a vi) is where the sum starts
 *   va_dot(bits, step, sum, line, vq)   adds four products per lane; codes are below 2^bits, or signed if bits is 8 and
 *                                       OX_SIGNED_BYTES; steps count 0, 1, 2 ... and must end on a multiple of 4
 *   va_end(bits, sum, first)            the exact int32 sums
 *
 * bits and step are compile-time constants. Activations lie in [-127, 127], which keeps every 16-bit sum exact: a pair of
 * products is at most 2 * 127 * (2^bits - 1), so 8, 4 and 2 pairs of 4, 5 and 6 bits fit, and 2 * 127 * 128 for bytes. */
#ifndef OX_VEC_INT_H
#define OX_VEC_INT_H

#if defined(OX_HAS_AVX512)
#  include "vec_int_avx512.h"
#elif defined(OX_HAS_AVX2)
#  include "vec_int_avx2.h"
#elif defined(OX_HAS_SSE41)
#  include "vec_int_sse41.h"
#elif defined(OX_HAS_NEON)
#  include "vec_int_neon.h"
#endif

#if defined(OX_HAS_NEON)
OX_INLINE int32_t vec_sum_i8(const int8_t *p) { return vaddlvq_s8(vld1q_s8(p)); }
#else
OX_INLINE int32_t vec_sum_i8(const int8_t *p) {
    /* Only unsigned bytes are summed in one step: 128 more each. */
    const __m128i bytes = _mm_xor_si128(_mm_loadu_si128((const __m128i *)p), _mm_set1_epi8(-128));
    const __m128i halves = _mm_sad_epu8(bytes, _mm_setzero_si128());
    return _mm_cvtsi128_si32(halves) + _mm_extract_epi16(halves, 4) - 16 * 128;
}
#endif

#endif
