/* Scalar, float32 activations, the file's own blocks: the oracle of every other level. */
#include "levels/kernel_includes.h"

#define OX_LEVEL_REFERENCE
#include "levels/isa_begin.h"
#include "levels/kernel_body.h"
#include "levels/isa_end.h"
