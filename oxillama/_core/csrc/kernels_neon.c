/* Armv8.0: NEON without dot products. */
#include "kernel_includes.h"

#if defined(__aarch64__)
#define OX_LEVEL_NEON
#include "isa_begin.h"
#include "kernel_body.h"
#include "isa_end.h"
#endif
