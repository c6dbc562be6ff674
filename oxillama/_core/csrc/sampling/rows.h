/* Vector passes over one row of logits: finiteness, block maxima, sortable codes, exact weights, moments.
 * No stage of the sampler lives here, only the loops that a compiler can vectorise.
 *
 * Weights. A probability is kept as an integer: weight = round(exp(x - max) * 2^44). Sums of integers are exact, so
 * masses, cuts and draws do not depend on the order of summation, and selection may visit tokens in any order.
 * A row has at most 2^19 tokens, hence a sum stays below 2^63. A token more than 31 nats below the best weighs 0. */
#ifndef OX_SAMPLING_ROWS_H
#define OX_SAMPLING_ROWS_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define OX_ROW_BLOCK 64        /* tokens per block maximum */
#define OX_ROW_MAX_VOCAB 524288 /* 2^19 */
#define OX_WEIGHT_BITS 44
#define OX_WEIGHT_ONE 17592186044416.0 /* 2^44 */

static inline int ox_row_n_blocks(int n) { return (n + OX_ROW_BLOCK - 1) / OX_ROW_BLOCK; }

static inline uint32_t ox_float_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float ox_bits_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Maximum of each block of x[n] into block_max[ox_row_n_blocks(n)]. Returns 1 if every value is finite; the maxima
 * are meaningful for finite values and for -infinity. */
static inline int ox_row_scan(const float *restrict x, int n, float *restrict block_max) {
    uint32_t exponents = 0; /* the sign bit gets set by an all-ones exponent, that is infinity or NaN */
    int n_full = n / OX_ROW_BLOCK;
    for (int b = 0; b < n_full; b++) {
        const float *p = x + (size_t)b * OX_ROW_BLOCK;
        float best = -INFINITY;
        uint32_t acc = 0;
#pragma omp simd reduction(max : best) reduction(| : acc)
        for (int i = 0; i < OX_ROW_BLOCK; i++) {
            best = p[i] > best ? p[i] : best;
            acc |= (ox_float_bits(p[i]) & 0x7fffffffu) + 0x00800000u;
        }
        block_max[b] = best;
        exponents |= acc;
    }
    if (n_full * OX_ROW_BLOCK < n) {
        float best = -INFINITY;
        for (int i = n_full * OX_ROW_BLOCK; i < n; i++) {
            best = x[i] > best ? x[i] : best;
            exponents |= (ox_float_bits(x[i]) & 0x7fffffffu) + 0x00800000u;
        }
        block_max[n_full] = best;
    }
    return !(exponents >> 31);
}

static inline float ox_row_max(const float *restrict x, int n) {
    float best = -INFINITY;
#pragma omp simd reduction(max : best)
    for (int i = 0; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

/* Codes that sort ascending where x sorts descending; -0 and +0 get the same code. */
static inline void ox_row_codes(const float *restrict x, int n, uint32_t *restrict codes) {
#pragma omp simd
    for (int i = 0; i < n; i++) {
        uint32_t bits = ox_float_bits(x[i] + 0.0f);
        uint32_t flip = (uint32_t)((int32_t)bits >> 31) | 0x80000000u;
        codes[i] = ~(bits ^ flip);
    }
}

/* The value of a code of ox_row_codes. */
static inline float ox_code_value(uint32_t code) {
    uint32_t bits = ~code;
    return ox_bits_float(bits & 0x80000000u ? bits ^ 0x80000000u : ~bits);
}

static inline uint32_t ox_row_least(const uint32_t *restrict codes, int n) {
    uint32_t least = UINT32_MAX;
#pragma omp simd reduction(min : least)
    for (int i = 0; i < n; i++) least = codes[i] < least ? codes[i] : least;
    return least;
}

/* Codes that sort ascending by |centre - x|. The distance is rounded to float32. */
static inline void ox_row_distance_codes(const float *restrict x, int n, double centre, uint32_t *restrict codes) {
#pragma omp simd
    for (int i = 0; i < n; i++) codes[i] = ox_float_bits((float)fabs(centre - (double)x[i]));
}

/* round(exp(d) * 2^44) for d <= 0. The polynomial and the split of ln 2 are those of Cephes' expf (S. Moshier). */
static inline uint64_t ox_weight(float d) {
    /* At least -40, whose weight rounds to 0. On the bits of numbers that are not positive, a float comparison is an
     * unsigned one the other way round; as an integer minimum gcc vectorises it, as a float one it makes a branch. */
    uint32_t magnitude = ox_float_bits(d);
    d = ox_bits_float(magnitude < 0xc2200000u ? magnitude : 0xc2200000u);
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float shifted = d * 1.44269504088896341f + magic;
    uint32_t power = ox_float_bits(shifted) - ox_float_bits(magic);
    float k = shifted - magic;
    float r = d - k * 0.693359375f;
    r = r + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    float scaled = ox_bits_float(ox_float_bits(p) + ((power + OX_WEIGHT_BITS) << 23));
    double rounded = (double)scaled + 4503599627370496.0; /* 2^52: the low mantissa bits are the integer */
    uint64_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    return bits - 0x4330000000000000u;
}

/* weights[i] = round(exp((x[i] - max) * inverse_temperature) * 2^44). Returns the exact sum. */
static inline uint64_t ox_row_weights(const float *restrict x, int n, float max, float inverse_temperature,
                                      uint64_t *restrict weights) {
    uint64_t total = 0;
#pragma omp simd reduction(+ : total)
    for (int i = 0; i < n; i++) {
        uint64_t w = ox_weight((x[i] - max) * inverse_temperature);
        weights[i] = w;
        total += w;
    }
    return total;
}

/* The exact sum of the weights alone. */
static inline uint64_t ox_row_mass(const float *restrict x, int n, float max) {
    uint64_t total = 0;
#pragma omp simd reduction(+ : total)
    for (int i = 0; i < n; i++) total += ox_weight(x[i] - max);
    return total;
}

static inline double ox_row_sum_lanes(const double lane[8]) {
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* Sums of (x - max) and (x - max)^2, in eight interleaved chains so that the order is fixed. */
static inline void ox_row_moments(const float *restrict x, int n, float max, double *sum, double *sum_squares) {
    double s[8] = {0}, q[8] = {0};
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) {
            double d = (double)x[i + l] - (double)max;
            s[l] += d;
            q[l] += d * d;
        }
    for (int l = 0; i + l < n; l++) {
        double d = (double)x[i + l] - (double)max;
        s[l] += d;
        q[l] += d * d;
    }
    *sum = ox_row_sum_lanes(s);
    *sum_squares = ox_row_sum_lanes(q);
}

/* Sum of weight * (x - max), in eight interleaved chains. */
static inline double ox_row_weighted_sum(const float *restrict x, const uint64_t *restrict weights, int n, float max) {
    double s[8] = {0};
    int i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++) s[l] += (double)(int64_t)weights[i + l] * ((double)x[i + l] - (double)max);
    for (int l = 0; i + l < n; l++) s[l] += (double)(int64_t)weights[i + l] * ((double)x[i + l] - (double)max);
    return ox_row_sum_lanes(s);
}

/* The first index whose running sum exceeds point; point must be below the sum of all weights. */
static inline int ox_row_find(const uint64_t *restrict weights, int n, uint64_t point) {
    int i = 0;
    for (; i + OX_ROW_BLOCK <= n; i += OX_ROW_BLOCK) {
        uint64_t mass = 0;
#pragma omp simd reduction(+ : mass)
        for (int l = 0; l < OX_ROW_BLOCK; l++) mass += weights[i + l];
        if (point < mass) break;
        point -= mass;
    }
    for (; i < n - 1; i++) {
        if (point < weights[i]) break;
        point -= weights[i];
    }
    return i;
}

/* floor(a * b / 2^64) */
static inline uint64_t ox_multiply_high(uint64_t a, uint64_t b) {
    uint64_t a_low = (uint32_t)a, a_high = a >> 32, b_low = (uint32_t)b, b_high = b >> 32;
    uint64_t middle = a_high * b_low + ((a_low * b_low) >> 32);
    uint64_t other = a_low * b_high + (uint32_t)middle;
    return a_high * b_high + (middle >> 32) + (other >> 32);
}

#endif
