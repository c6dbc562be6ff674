/* As avx512vnni, with bfloat16 dot products. */
#include "kernel_includes.h"

#if defined(__x86_64__)
#define OX_LEVEL_AVX512BF16
#include "isa_begin.h"
#include "kernel_body.h"
#include "isa_end.h"
#endif
