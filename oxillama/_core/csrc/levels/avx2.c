/* x86-64-v3: AVX2, FMA, F16C. */
#include "levels/kernel_includes.h"

#if defined(__x86_64__)
#define OX_LEVEL_AVX2
#include "levels/isa_begin.h"
#include "levels/kernel_body.h"
#include "levels/isa_end.h"
#endif
