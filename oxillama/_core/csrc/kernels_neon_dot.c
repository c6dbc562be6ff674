/* Armv8.2 with the int8 dot product. */
#include "kernel_includes.h"

#if defined(__aarch64__)
#define OX_LEVEL_NEON_DOT
#include "isa_begin.h"
#include "kernel_body.h"
#include "isa_end.h"
#endif
