/* A first look at 64 tokens of a draw, sixteen Philox counters at once; sampling/gumbel.h says what it decides. */
#ifndef OX_GUMBEL_ROWS_H
#define OX_GUMBEL_ROWS_H

#include "sampling/gumbel.h"
#include "vec/word.h"

static uint64_t K(gumbel_block)(const ox_gumbel_draw *draw, uint32_t block, const float *logits, float bar,
                                uint32_t *words) {
    uint32_t key_0 = draw->key[0];
    uint32_t key_1 = draw->key[1];
    /* The first round multiplies only what all counters share; the counter itself comes in as the last word. */
    uint32_t shared[4] = {draw->position, draw->choice, draw->stage, 0};
    ox_philox_round(shared, key_0, key_1);
    vu a = vu_set(shared[0]);
    vu b = vu_set(shared[1]);
    vu c = vu_xor(vu_set(shared[2]), vu_count(16 * block));
    vu d = vu_set(shared[3]);
    for (int32_t i = 1; i < OX_PHILOX_ROUNDS; i++) {
        key_0 += OX_PHILOX_W0;
        key_1 += OX_PHILOX_W1;
        vu high_0, high_1;
        const vu low_0 = vu_mul_wide(a, OX_PHILOX_M0, &high_0);
        const vu low_1 = vu_mul_wide(c, OX_PHILOX_M1, &high_1);
        a = vu_xor(vu_xor(high_1, b), vu_set(key_0));
        b = low_1;
        c = vu_xor(vu_xor(high_0, d), vu_set(key_1));
        d = low_0;
    }
    const vu each[4] = {a, b, c, d};
    uint64_t above = 0;
    OX_UNROLL
    for (int32_t w = 0; w < 4; w++) {
        vu_store(words + 16 * w, each[w]);
        const vf noise = vf_mul(vf_bits(vu_half(each[w])), vf_set(OX_GUMBEL_LOG_STEP));
        const vf behind = vf_sub(vf_load(logits + 16 * w), vf_set(draw->max));
        const vf bound = vf_sub(vf_mul(behind, vf_set(draw->inverse_temperature)), noise);
        above |= (uint64_t)(~vm_bits(vf_lt(bound, vf_set(bar))) & 0xffffu) << (16 * w);
    }
    return above;
}

#endif
