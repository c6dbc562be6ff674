/* System headers of the kernels, before the target pragma of levels/isa_begin.h: their functions carry their own. */
#ifndef OX_KERNEL_INCLUDES_H
#define OX_KERNEL_INCLUDES_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#  include <immintrin.h>
#elif defined(__aarch64__)
#  include <arm_neon.h>
#endif

#include "kernels.h"

#endif
