/* Armv8.2 with the int8 dot product. */
#include "levels/kernel_includes.h"

#if defined(__aarch64__)
#define OX_LEVEL_NEON_DOT
#include "levels/isa_begin.h"
#include "levels/kernel_body.h"
#include "levels/isa_end.h"
#endif
