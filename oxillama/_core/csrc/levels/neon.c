/* Armv8.0: NEON without dot products. */
#include "levels/kernel_includes.h"

#if defined(__aarch64__)
#define OX_LEVEL_NEON
#include "levels/isa_begin.h"
#include "levels/kernel_body.h"
#include "levels/isa_end.h"
#endif
