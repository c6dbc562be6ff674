/* The levels that were compiled in, slowest first, and whether this processor and its system can run them. */
#ifndef OX_KERNEL_LEVELS_H
#define OX_KERNEL_LEVELS_H

#include "kernels.h"

#if defined(__x86_64__)
#  include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#  include <sys/auxv.h>
#endif

/* A build of some levels only (OXILLAMA_LEVELS, see setup.py): those that are not linked are null, and so not
 * usable. */
#if defined(OX_SOME_LEVELS)
#  pragma weak ox_kernels_base
#  pragma weak ox_kernels_avx2
#  pragma weak ox_kernels_avxvnni
#  pragma weak ox_kernels_avx512vnni
#  pragma weak ox_kernels_avx512bf16
#  pragma weak ox_kernels_neon
#  pragma weak ox_kernels_neon_dot
#endif

static const ox_kernels *const ox_compiled_levels[] = {
    &ox_kernels_reference,
#if defined(__x86_64__)
    &ox_kernels_base,
    &ox_kernels_avx2,
#  if defined(OX_COMPILES_AVX_VNNI)
    &ox_kernels_avxvnni,
#  endif
    &ox_kernels_avx512vnni,
    &ox_kernels_avx512bf16,
#elif defined(__aarch64__)
    &ox_kernels_neon,
    &ox_kernels_neon_dot,
#endif
};

enum { OX_COMPILED_LEVELS = sizeof(ox_compiled_levels) / sizeof(ox_compiled_levels[0]) };

static inline int ox_level_usable(const ox_kernels *level) {
    if (level == 0)
        return 0;
#if defined(__x86_64__)
    if (level != &ox_kernels_reference && level != &ox_kernels_base) {
        unsigned eax, ebx, ecx, edx;
        __builtin_cpu_init();  /* __builtin_cpu_supports also asks whether the system saves the registers */
        /* not every compiler knows the name "f16c", so that bit is read from leaf 1 */
        if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & (1u << 29)))
            return 0;
        if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi") ||
            !__builtin_cpu_supports("bmi2"))
            return 0;
#  if defined(OX_COMPILES_AVX_VNNI)
        if (level == &ox_kernels_avxvnni)
            return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & (1u << 4));
#  endif
    }
    if (level == &ox_kernels_avx512vnni || level == &ox_kernels_avx512bf16)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vnni") &&
               (level == &ox_kernels_avx512vnni || __builtin_cpu_supports("avx512bf16"));
#elif defined(__aarch64__) && defined(__linux__)
    if (level == &ox_kernels_neon_dot)
        return (getauxval(AT_HWCAP) & (1ul << 20)) != 0;  /* HWCAP_ASIMDDP */
#elif defined(__aarch64__)
    /* every Apple processor that runs 64-bit code on macOS has it; elsewhere nobody can be asked */
    if (level == &ox_kernels_neon_dot) {
#  if defined(__APPLE__)
        return 1;
#  else
        return 0;
#  endif
    }
#endif
    return 1;
}

#endif
