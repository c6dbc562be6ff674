/* x86-64-v2: SSE4.1, no fused multiply-add. */
#include "levels/kernel_includes.h"

#if defined(__x86_64__)
#define OX_LEVEL_BASE
#include "levels/isa_begin.h"
#include "levels/kernel_body.h"
#include "levels/isa_end.h"
#endif
