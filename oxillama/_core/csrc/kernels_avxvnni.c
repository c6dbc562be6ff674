/* As avx2, with products of bytes that add to int32 (AVX-VNNI). */
#include "kernel_includes.h"

#if defined(OX_COMPILES_AVX_VNNI)
#define OX_LEVEL_AVXVNNI
#include "isa_begin.h"
#include "kernel_body.h"
#include "isa_end.h"
#endif
