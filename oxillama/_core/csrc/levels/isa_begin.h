/* Opens one instruction-set level: defines what the level has (OX_HAS_*) and how its functions are named (K), and sets
 * the compiler's target. The file that includes it has defined exactly one OX_LEVEL_*; levels/isa_end.h undoes all.
 * Code between the two is selected by OX_HAS_* only: clang does not define __AVX2__ under a target attribute. */

#if defined(OX_LEVEL_REFERENCE)
#  define OX_ISA reference
#elif defined(OX_LEVEL_BASE)
#  define OX_ISA base
#  define OX_HAS_SSE41 1
#elif defined(OX_LEVEL_AVX2)
#  define OX_ISA avx2
#  define OX_HAS_AVX2 1
#  define OX_HAS_FMA 1
#elif defined(OX_LEVEL_AVXVNNI)
#  define OX_ISA avxvnni
#  define OX_HAS_AVX2 1
#  define OX_HAS_AVX_VNNI 1
#  define OX_HAS_FMA 1
#elif defined(OX_LEVEL_AVX512VNNI)
#  define OX_ISA avx512vnni
#  define OX_HAS_AVX512 1
#  define OX_HAS_FMA 1
#elif defined(OX_LEVEL_AVX512BF16)
#  define OX_ISA avx512bf16
#  define OX_HAS_AVX512 1
#  define OX_HAS_BF16 1
#  define OX_HAS_FMA 1
#elif defined(OX_LEVEL_NEON)
#  define OX_ISA neon
#  define OX_HAS_NEON 1
#  define OX_HAS_FMA 1
#elif defined(OX_LEVEL_NEON_DOT)
#  define OX_ISA neon_dot
#  define OX_HAS_NEON 1
#  define OX_HAS_NEON_DOT 1
#  define OX_HAS_FMA 1
#else
#  error "define one OX_LEVEL_* before including levels/isa_begin.h"
#endif

#define OX_GLUE2(name, isa) name##_##isa
#define OX_GLUE(name, isa) OX_GLUE2(name, isa)
/* The name of something in this level; everything but the table is static. */
#define K(name) OX_GLUE(name, OX_ISA)
#define OX_INLINE static inline __attribute__((always_inline))
/* Before a loop with constant bounds over an array of vectors: unrolled, the array stays in registers. */
#if defined(__clang__)
#  define OX_UNROLL _Pragma("clang loop unroll(full)")
#else
#  define OX_UNROLL _Pragma("GCC unroll 16")
#endif

/* x86-64-v2 is the baseline of the whole build, so `base` and `reference` need no target of their own. */
#if defined(OX_HAS_BF16)
#  if defined(__clang__)
#    pragma clang attribute push( \
        __attribute__((target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16"))), \
        apply_to = function)
#  else
#    pragma GCC push_options
#    pragma GCC target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")
#  endif
#elif defined(OX_HAS_AVX512)
#  if defined(__clang__)
#    pragma clang attribute push( \
        __attribute__((target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni"))), \
        apply_to = function)
#  else
#    pragma GCC push_options
#    pragma GCC target("avx2,fma,f16c,bmi,bmi2,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#  endif
#elif defined(OX_HAS_AVX_VNNI)
#  if defined(__clang__)
#    pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2,avxvnni"))), apply_to = function)
#  else
#    pragma GCC push_options
#    pragma GCC target("avx2,fma,f16c,bmi,bmi2,avxvnni")
#  endif
#elif defined(OX_HAS_AVX2)
#  if defined(__clang__)
#    pragma clang attribute push(__attribute__((target("avx2,fma,f16c,bmi,bmi2"))), apply_to = function)
#  else
#    pragma GCC push_options
#    pragma GCC target("avx2,fma,f16c,bmi,bmi2")
#  endif
#elif defined(OX_HAS_NEON_DOT)
#  if defined(__clang__)
#    pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#  else
#    pragma GCC push_options
#    pragma GCC target("arch=armv8.2-a+dotprod")
#  endif
#endif
