/* Closes what levels/isa_begin.h opened. */

#if defined(OX_HAS_AVX512) || defined(OX_HAS_AVX2) || defined(OX_HAS_NEON_DOT)
#  if defined(__clang__)
#    pragma clang attribute pop
#  else
#    pragma GCC pop_options
#  endif
#endif

#undef OX_ISA
#undef OX_HAS_SSE41
#undef OX_HAS_AVX2
#undef OX_HAS_AVX_VNNI
#undef OX_HAS_AVX512
#undef OX_HAS_BF16
#undef OX_HAS_NEON
#undef OX_HAS_NEON_DOT
#undef OX_HAS_FMA
#undef OX_GLUE2
#undef OX_GLUE
#undef K
#undef OX_INLINE
#undef OX_UNROLL
