/* As avx2, with products of bytes that add to int32 (AVX-VNNI). */
#include "levels/kernel_includes.h"

#if defined(OX_COMPILES_AVX_VNNI)
#define OX_LEVEL_AVXVNNI
#include "levels/isa_begin.h"
#include "levels/kernel_body.h"
#include "levels/isa_end.h"
#endif
