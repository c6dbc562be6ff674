/* The scalar oracle of sampling/gumbel_rows.h. */
#ifndef OX_GUMBEL_REFERENCE_H
#define OX_GUMBEL_REFERENCE_H

#include "sampling/gumbel.h"

static uint64_t K(gumbel_block)(const ox_gumbel_draw *draw, uint32_t block, const float *logits, float bar,
                                uint32_t *words) {
    uint64_t above = 0;
    for (uint32_t i = 0; i < OX_GUMBEL_BLOCK; i++) {
        words[i] = ox_gumbel_word(draw, draw->stage, OX_GUMBEL_BLOCK * block + i);
        above |= (uint64_t)(ox_gumbel_bound(draw, logits[i], words[i]) >= bar) << i;
    }
    return above;
}

#endif
