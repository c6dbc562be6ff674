/* Scalar, float32 activations, the file's own blocks: the oracle of every other level. */
#include "kernel_includes.h"

#define OX_LEVEL_REFERENCE
#include "isa_begin.h"
#include "kernel_body.h"
#include "isa_end.h"
