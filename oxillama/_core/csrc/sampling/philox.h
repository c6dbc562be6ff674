/* Philox4x32-10: four random words from four counter words and two key words.
 * Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. */
#ifndef OX_PHILOX_H
#define OX_PHILOX_H

#include <stdint.h>

/* Multipliers and Weyl increments of the paper, section 3. */
#define OX_PHILOX_ROUNDS 10
#define OX_PHILOX_M0 0xD2511F53u
#define OX_PHILOX_M1 0xCD9E8D57u
#define OX_PHILOX_W0 0x9E3779B9u
#define OX_PHILOX_W1 0xBB67AE85u

static inline void ox_philox_round(uint32_t words[4], uint32_t key_0, uint32_t key_1) {
    const uint64_t product_0 = (uint64_t)OX_PHILOX_M0 * words[0];
    const uint64_t product_1 = (uint64_t)OX_PHILOX_M1 * words[2];
    words[0] = (uint32_t)(product_1 >> 32) ^ words[1] ^ key_0;
    words[1] = (uint32_t)product_1;
    words[2] = (uint32_t)(product_0 >> 32) ^ words[3] ^ key_1;
    words[3] = (uint32_t)product_0;
}

/* Turns the counter into the random words, in place. */
static inline void ox_philox(uint32_t words[4], uint32_t key_0, uint32_t key_1) {
    for (int i = 0; i < OX_PHILOX_ROUNDS; i++) {
        ox_philox_round(words, key_0, key_1);
        key_0 += OX_PHILOX_W0;
        key_1 += OX_PHILOX_W1;
    }
}

#endif
