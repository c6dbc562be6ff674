/* x86-64-v2: SSE4.1, no fused multiply-add. */
#include "kernel_includes.h"

#if defined(__x86_64__)
#define OX_LEVEL_BASE
#include "isa_begin.h"
#include "kernel_body.h"
#include "isa_end.h"
#endif
