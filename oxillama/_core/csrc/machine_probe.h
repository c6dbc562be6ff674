/* What the machine can do: sequential reads, int8 and float32 multiply-adds. The loops that figures of kernels are
 * compared with. */
#ifndef OX_MACHINE_PROBE_H
#define OX_MACHINE_PROBE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

#if defined(__x86_64__)
#  include <immintrin.h>
#endif

/* Reads `bytes` (a multiple of 256) in one ascending stream; the result keeps the compiler from leaving it out. */
static inline uint64_t ox_probe_read(const uint8_t *data, size_t bytes) {
#if defined(__x86_64__)
    __m128i sum[4] = {_mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128()};
    for (size_t i = 0; i < bytes; i += 256) {
        for (size_t lane = 0; lane < 16; lane++) {
            sum[lane % 4] = _mm_xor_si128(sum[lane % 4], _mm_load_si128((const __m128i *)(data + i + 16 * lane)));
        }
    }
    const __m128i all = _mm_xor_si128(_mm_xor_si128(sum[0], sum[1]), _mm_xor_si128(sum[2], sum[3]));
    return (uint64_t)_mm_cvtsi128_si64(all);
#else
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, sizeof word);
        sum ^= word;
    }
    return sum;
#endif
}

/* Turns per call of ox_probe_dot and ox_probe_fma, and the loops: twelve independent sums, registers only. */
enum { OX_PROBE_SUMS = 12, OX_PROBE_TURNS = 1 << 20 };

#if defined(__x86_64__)
#define OX_PROBE_EACH(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)

/* Multiply-adds of bytes; nothing is known of a factor after each step, so that none is left out. */
#define OX_DOT_LOOP(name, features, type, set)                                                                         \
    __attribute__((target(features))) static inline int32_t name(void) {                                               \
        const type x = set(5);                                                                                         \
        type w = set(3);                                                                                               \
        OX_PROBE_EACH(OX_DECLARE)                                                                                      \
        for (int32_t turn = 0; turn < OX_PROBE_TURNS; turn++) {                                                        \
            OX_PROBE_EACH(OX_STEP)                                                                                     \
        }                                                                                                              \
        int32_t total = 0;                                                                                             \
        OX_PROBE_EACH(OX_SUM)                                                                                          \
        return total;                                                                                                  \
    }
#define OX_DECLARE(i) __typeof__(w) s##i = w;
#define OX_SUM(i) total += (int32_t)s##i[0];
#define OX_STEP(i) s##i = _mm512_dpbusd_epi32(s##i, w, x); __asm__ volatile("" : "+v"(s##i), "+v"(w));
OX_DOT_LOOP(ox_probe_dot_avx512vnni, "avx512f,avx512bw,avx512vnni", __m512i, _mm512_set1_epi8)
#undef OX_STEP
#if defined(OX_COMPILES_AVX_VNNI)
#  define OX_STEP(i) s##i = _mm256_dpbusd_avx_epi32(s##i, w, x); __asm__ volatile("" : "+x"(s##i), "+x"(w));
OX_DOT_LOOP(ox_probe_dot_avxvnni, "avx2,avxvnni", __m256i, _mm256_set1_epi8)
#  undef OX_STEP
#endif
/* Pairs of products added in 16 bits: codes of up to six bits need little more (vec/int.h), bytes twice as much. */
#define OX_STEP(i)                                                                                                     \
    s##i = _mm256_add_epi16(s##i, _mm256_maddubs_epi16(w, x));                                                         \
    __asm__ volatile("" : "+x"(s##i), "+x"(w));
OX_DOT_LOOP(ox_probe_dot_avx2, "avx2", __m256i, _mm256_set1_epi8)
#undef OX_STEP
#define OX_STEP(i)                                                                                                     \
    s##i = _mm_add_epi16(s##i, _mm_maddubs_epi16(w, x));                                                               \
    __asm__ volatile("" : "+x"(s##i), "+x"(w));
OX_DOT_LOOP(ox_probe_dot_base, "sse4.1", __m128i, _mm_set1_epi8)
#undef OX_STEP
#undef OX_DECLARE
#undef OX_SUM
#undef OX_DOT_LOOP

/* Float32 multiply-adds; all factors are small enough that no sum ever leaves the normal numbers. */
#define OX_FMA_LOOP(name, features, type, set)                                                                         \
    __attribute__((target(features))) static inline float name(void) {                                                 \
        const type x = set(1e-9f);                                                                                     \
        OX_PROBE_EACH(OX_DECLARE)                                                                                      \
        for (int32_t turn = 0; turn < OX_PROBE_TURNS; turn++) {                                                        \
            OX_PROBE_EACH(OX_STEP)                                                                                     \
        }                                                                                                              \
        float total = 0.0f;                                                                                            \
        OX_PROBE_EACH(OX_SUM)                                                                                          \
        return total;                                                                                                  \
    }
#define OX_DECLARE(i) __m512 s##i = _mm512_set1_ps(1.0f + i);
#define OX_STEP(i) s##i = _mm512_fmadd_ps(x, x, s##i); __asm__ volatile("" : "+v"(s##i));
#define OX_SUM(i) total += _mm512_cvtss_f32(s##i);
OX_FMA_LOOP(ox_probe_fma_avx512, "avx512f", __m512, _mm512_set1_ps)
#undef OX_DECLARE
#undef OX_STEP
#undef OX_SUM
#define OX_DECLARE(i) __m256 s##i = _mm256_set1_ps(1.0f + i);
#define OX_STEP(i) s##i = _mm256_fmadd_ps(x, x, s##i); __asm__ volatile("" : "+x"(s##i));
#define OX_SUM(i) total += _mm256_cvtss_f32(s##i);
OX_FMA_LOOP(ox_probe_fma_avx2, "avx2,fma", __m256, _mm256_set1_ps)
#undef OX_DECLARE
#undef OX_STEP
#undef OX_SUM
#undef OX_FMA_LOOP
#undef OX_PROBE_EACH
#endif

/* Runs the loop of a level once and returns its multiply-adds, 0 where no loop was written for the level. */
static inline int64_t ox_probe_dot(const char *level) {
    volatile int32_t result;  /* keeps the compiler from leaving the loop out */
    const int64_t per_byte = (int64_t)OX_PROBE_SUMS * OX_PROBE_TURNS;
#if defined(__x86_64__)
    if (strncmp(level, "avx512", 6) == 0) { /* every level of the family has VNNI */
        result = ox_probe_dot_avx512vnni();
        return 64 * per_byte;
    }
#  if defined(OX_COMPILES_AVX_VNNI)
    if (strcmp(level, "avxvnni") == 0) {
        result = ox_probe_dot_avxvnni();
        return 32 * per_byte;
    }
#  endif
    if (strcmp(level, "avx2") == 0) {
        result = ox_probe_dot_avx2();
        return 32 * per_byte;
    }
    if (strcmp(level, "base") == 0) {
        result = ox_probe_dot_base();
        return 16 * per_byte;
    }
#endif
    (void)level;
    (void)per_byte;
    (void)result;
    return 0;
}

/* The same for float32 multiply-adds. */
static inline int64_t ox_probe_fma(const char *level) {
    volatile float result;
    const int64_t per_lane = (int64_t)OX_PROBE_SUMS * OX_PROBE_TURNS;
#if defined(__x86_64__)
    if (strncmp(level, "avx512", 6) == 0) {
        result = ox_probe_fma_avx512();
        return 16 * per_lane;
    }
    if (strcmp(level, "avx2") == 0 || strcmp(level, "avxvnni") == 0) {
        result = ox_probe_fma_avx2();
        return 8 * per_lane;
    }
#endif
    (void)level;
    (void)per_lane;
    (void)result;
    return 0;
}

#endif
