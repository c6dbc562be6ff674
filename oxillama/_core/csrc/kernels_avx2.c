/* x86-64-v3: AVX2, FMA, F16C. */
#include "kernel_includes.h"

#if defined(__x86_64__)
#define OX_LEVEL_AVX2
#include "isa_begin.h"
#include "kernel_body.h"
#include "isa_end.h"
#endif
