/* x86-64-v4 with VNNI: 512-bit int8 dot products. */
#include "levels/kernel_includes.h"

#if defined(__x86_64__)
#define OX_LEVEL_AVX512VNNI
#include "levels/isa_begin.h"
#include "levels/kernel_body.h"
#include "levels/isa_end.h"
#endif
