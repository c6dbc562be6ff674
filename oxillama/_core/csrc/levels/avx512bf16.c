/* As avx512vnni, with bfloat16 dot products. */
#include "levels/kernel_includes.h"

#if defined(__x86_64__)
#define OX_LEVEL_AVX512BF16
#include "levels/isa_begin.h"
#include "levels/kernel_body.h"
#include "levels/isa_end.h"
#endif
