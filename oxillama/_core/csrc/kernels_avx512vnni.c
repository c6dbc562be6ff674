/* x86-64-v4 with VNNI: 512-bit int8 dot products. */
#include "kernel_includes.h"

#if defined(__x86_64__)
#define OX_LEVEL_AVX512VNNI
#include "isa_begin.h"
#include "kernel_body.h"
#include "isa_end.h"
#endif
