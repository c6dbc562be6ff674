/* The score of a candidate in a draw by Gumbel-max: logit / temperature + G, where G is Gumbel noise that belongs to
 * the token. The highest score wins, and each token does so with the probability of its softmax weight.
 * Source: E. J. Gumbel, "Statistical theory of extreme values", 1954; as a way to draw, C. Maddison, D. Tarlow,
 * T. Minka, "A* sampling", NeurIPS 2014.
 *
 * Two words of Philox make 64 bits, U = (bits + 1/2) / 2^64, and G = -log(-log(1 - U)), between -3.82 and 45.06. It is
 * computed in double with additions, multiplications and divisions in one order, so it has the same bits everywhere;
 * its error is below 2^-44. A score is an integer, a multiple of 2^-32: logit / temperature and G, each rounded to it.
 * Comparing integers, a score says the same whoever else takes part.
 *
 * Most candidates need no logarithm: the high word alone bounds the score from above. The bound is in float32, with a
 * margin for every rounding in it, and only says whom to look at; nothing of it enters the result. */
#ifndef OX_GUMBEL_H
#define OX_GUMBEL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"
#include "sampling/philox.h"

#define OX_GUMBEL_ONE 4294967296.0 /* 2^32, a score of 1 */
/* More than the difference between the greatest and the least G: who is this far behind the best logit cannot win. */
#define OX_GUMBEL_REACH 64.0
#define OX_GUMBEL_MOST 45.07f /* no G is greater */
#define OX_GUMBEL_NONE INT64_MIN

/* Tokens 64 b to 64 b + 63 come from the 16 counters 16 b to 16 b + 15: token 16 w + i of these is word w of counter i,
 * so that a vector over counters is a vector over consecutive tokens. */
static inline uint32_t ox_gumbel_counter(uint32_t token) { return (token >> 6 << 4) | (token & 15); }

static inline uint32_t ox_gumbel_word(const ox_gumbel_draw *draw, uint32_t stage, uint32_t token) {
    uint32_t words[4] = {draw->position, draw->choice, stage, ox_gumbel_counter(token)};
    ox_philox(words, draw->key[0], draw->key[1]);
    return words[token >> 4 & 3];
}

/* log(v) for a normal v > 0: v = m 2^e with m in [1/sqrt 2, sqrt 2], log m = 2 atanh((m - 1) / (m + 1)). */
static inline double ox_gumbel_atanh(double s) {
    const double z = s * s;
    double p = 1.0 / 21.0;
    p = p * z + 1.0 / 19.0;
    p = p * z + 1.0 / 17.0;
    p = p * z + 1.0 / 15.0;
    p = p * z + 1.0 / 13.0;
    p = p * z + 1.0 / 11.0;
    p = p * z + 1.0 / 9.0;
    p = p * z + 1.0 / 7.0;
    p = p * z + 1.0 / 5.0;
    p = p * z + 1.0 / 3.0;
    return s + s * (z * p);
}

static inline double ox_gumbel_log(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    /* 0x3fe6a09e667f3bcd is 1/sqrt 2: the exponent of the quotient by it, and what is left. */
    const int64_t exponent = (int64_t)(bits - 0x3fe6a09e667f3bcdu) >> 52;
    bits -= (uint64_t)exponent << 52;
    double m;
    memcpy(&m, &bits, sizeof m);
    return (double)exponent * 0.693147180559945309417 + 2.0 * ox_gumbel_atanh((m - 1.0) / (m + 1.0));
}

static inline double ox_gumbel(uint64_t bits) {
    double e; /* -log(1 - U), exponentially distributed */
    if (bits >> 62 == 0) { /* U < 1/4: without the difference 1 - U, for small U keep their digits */
        const double u = ((double)bits + 0.5) * 0x1p-64;
        e = 2.0 * ox_gumbel_atanh(u / (2.0 - u));
    } else {
        e = -ox_gumbel_log(((double)~bits + 0.5) * 0x1p-64);
    }
    return -ox_gumbel_log(e);
}

/* A logit in units of the score. Whole numbers, of which a double may hold too large ones; they cannot win. */
static inline double ox_gumbel_units(float logit, double temperature) {
    return rint((double)logit / temperature * OX_GUMBEL_ONE);
}

/* The score, less that of the greatest logit without noise. Differences of whole numbers below 2^53 are exact, so
 * max moves all scores alike. OX_GUMBEL_NONE: out of reach. */
static inline int64_t ox_gumbel_score(const ox_gumbel_draw *draw, float logit, uint64_t bits) {
    const double behind = ox_gumbel_units(logit, draw->temperature) - ox_gumbel_units(draw->max, draw->temperature);
    if (!(behind > -OX_GUMBEL_REACH * OX_GUMBEL_ONE)) return OX_GUMBEL_NONE;
    return (int64_t)behind + (int64_t)rint(ox_gumbel(bits) * OX_GUMBEL_ONE);
}

/* G <= -log U <= -log(half / 2^31), where half = high word / 2, rounded down; and log2 of a float is at least what its
 * bits say as a number: 2^-23 times them, less 127. So G <= 158 log 2 - bits * (log 2 / 2^23). The bound leaves out the
 * first term, which the bar makes up for, with a margin of 2^-10 for all roundings: of three in the distance, at most
 * 2^-22 of 64 nats, and of those in the noise, less than 2^-12 nats in sum. */
#define OX_GUMBEL_LOG_STEP 8.262958294867817e-08f /* log 2 / 2^23 */

static inline float ox_gumbel_bound(const ox_gumbel_draw *draw, float logit, uint32_t word) {
    const float half = (float)(int32_t)(word >> 1);
    int32_t bits;
    memcpy(&bits, &half, sizeof bits);
    return (logit - draw->max) * draw->inverse_temperature - (float)bits * OX_GUMBEL_LOG_STEP;
}

/* Who has a bound below the bar has a lower score than this one. */
static inline float ox_gumbel_bar(int64_t score) {
    return (float)((double)score / OX_GUMBEL_ONE - 158.0 * 0.693147180559945309417 - 0x1p-10);
}

#endif
