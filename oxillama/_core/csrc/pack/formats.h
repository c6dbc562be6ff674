/* The table of weight formats: one row per ggml type says everything that packing and products need to know of it, and
 * one struct what a block of the file looks like. How blocks are decoded is in pack/blocks.h.
 *
 * Facts about the formats: ggml's ggml-common.h (block structures) and ggml-quants.c (dequantize_row_*). All of them
 * are little-endian, and so must the machine be. */
#ifndef OX_FORMATS_H
#define OX_FORMATS_H

#include <stdint.h>
#include <string.h>

#include "half.h"

/* What multiplies a code. The scale of a block, d, is float16 except in MXFP4. */
enum ox_scales {
    OX_SCALES_D = 0,       /* d alone */
    OX_SCALES_E8M0 = 1,    /* d alone, a power of two, here as bfloat16 */
    OX_SCALES_INT8 = 2,    /* d, and a small integer per sub-block */
    OX_SCALES_E4M3 = 3     /* no d: a float of eight bits per sub-block */
};

enum ox_minima {
    OX_MIN_NONE = 0,
    OX_MIN_ADDED = 1,      /* one float per block, added */
    OX_MIN_SUBTRACTED = 2  /* one small integer per sub-block, times a float per block (dmin), subtracted */
};

/* What codes stand for where that is not `code - offset`: 16 values, of which formats with fewer bits use the first. */
enum ox_book {
    OX_BOOK_NONE = 0, OX_BOOK_BIT, OX_BOOK_DIBIT, OX_BOOK_NL, OX_BOOK_FP4, OX_BOOK_IQ1, OX_BOOK_IQ2, OX_BOOK_IQ3_XXS,
    OX_BOOK_IQ3_S
};
#define OX_BOOK_BIT_VALUES(v) v(-1) v(0) v(0) v(0) v(1) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0)
#define OX_BOOK_DIBIT_VALUES(v) v(-1) v(0) v(1) v(2) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0)
#define OX_BOOK_NL_VALUES(v) \
    v(-127) v(-104) v(-83) v(-65) v(-49) v(-35) v(-22) v(-10) v(1) v(13) v(25) v(38) v(53) v(69) v(89) v(113)
#define OX_BOOK_FP4_VALUES(v) v(0) v(1) v(2) v(3) v(4) v(6) v(8) v(12) v(0) v(-1) v(-2) v(-3) v(-4) v(-6) v(-8) v(-12)
/* Eight times -1, 0 or 1, and one more; the third bit makes it one less. */
#define OX_BOOK_IQ1_VALUES(v) v(-7) v(1) v(9) v(0) v(-9) v(-1) v(7) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0)
/* The magnitudes of the grids; the third, or here the fourth, bit is the sign. */
#define OX_BOOK_IQ2_VALUES(v) v(8) v(25) v(43) v(0) v(-8) v(-25) v(-43) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0) v(0)
#define OX_BOOK_IQ3_XXS_VALUES(v) \
    v(4) v(12) v(20) v(28) v(36) v(44) v(52) v(62) v(-4) v(-12) v(-20) v(-28) v(-36) v(-44) v(-52) v(-62)
#define OX_BOOK_IQ3_S_VALUES(v) \
    v(1) v(3) v(5) v(7) v(9) v(11) v(13) v(15) v(-1) v(-3) v(-5) v(-7) v(-9) v(-11) v(-13) v(-15)

#define OX_ENTRY(value) value,
static const int8_t ox_books[][16] = {
    {0},
    {OX_BOOK_BIT_VALUES(OX_ENTRY)},
    {OX_BOOK_DIBIT_VALUES(OX_ENTRY)},
    {OX_BOOK_NL_VALUES(OX_ENTRY)},
    {OX_BOOK_FP4_VALUES(OX_ENTRY)},
    {OX_BOOK_IQ1_VALUES(OX_ENTRY)},
    {OX_BOOK_IQ2_VALUES(OX_ENTRY)},
    {OX_BOOK_IQ3_XXS_VALUES(OX_ENTRY)},
    {OX_BOOK_IQ3_S_VALUES(OX_ENTRY)},
};
#undef OX_ENTRY

/* How rows are packed (pack/rows.h): words of the file's blocks, or blocks taken apart one by one, which is slower. */
enum ox_packing { OX_PACKED_BLOCKS = 0, OX_PACKED_WORDS };

/* value = (code - offset or book[code]) * (unit * d * scale) [+ m | - unit * dmin * min] */
typedef struct ox_format {
    int32_t block;        /* values per block; 0 for a type that is unknown here */
    int32_t block_bytes;
    int32_t bits;         /* of a code, 0 <= code < 2^bits, except that a single bit is 0 or 4; 0 for float types */
    int32_t offset;       /* with a book: what makes its values unsigned */
    int32_t sub;          /* consecutive values that share a scale */
    int32_t act_sub;      /* consecutive activations that share an int8 scale in products with this type: 32 where
                           * minima are added, 256 where sub is 16: an ox_act_block has the sums of one or of the
                           * other */
    enum ox_scales scales;
    enum ox_minima minima;
    enum ox_book book;
    float unit;           /* a power of two */
    enum ox_packing packing;
} ox_format;

#define OX_FLOAT_TYPES(ROW) \
    ROW(F32, 0, 4)          \
    ROW(F16, 1, 2)          \
    ROW(BF16, 30, 2)

/*      name   number block bytes bits offset sub act_sub scales minima      book     unit    packing */
#define OX_INT_TYPES(ROW)                                                                             \
    ROW(Q4_0,      2,   32,   18,   4,    8,  32,  256, D,       NONE,       NONE,    1.0f,   WORDS)  \
    ROW(Q4_1,      3,   32,   20,   4,    0,  32,   32, D,       ADDED,      NONE,    1.0f,   WORDS)  \
    ROW(Q5_0,      6,   32,   22,   5,   16,  32,   32, D,       NONE,       NONE,    1.0f,   WORDS)  \
    ROW(Q5_1,      7,   32,   24,   5,    0,  32,   32, D,       ADDED,      NONE,    1.0f,   WORDS)  \
    ROW(Q8_0,      8,   32,   34,   8,  128,  32,  256, D,       NONE,       NONE,    1.0f,   WORDS)  \
    ROW(Q2_K,     10,  256,   84,   2,    0,  16,  256, INT8,    SUBTRACTED, NONE,    1.0f,   WORDS)  \
    ROW(Q3_K,     11,  256,  110,   3,    4,  16,  256, INT8,    NONE,       NONE,    1.0f,   WORDS)  \
    ROW(Q4_K,     12,  256,  144,   4,    0,  32,  256, INT8,    SUBTRACTED, NONE,    1.0f,   WORDS)  \
    ROW(Q5_K,     13,  256,  176,   5,    0,  32,  256, INT8,    SUBTRACTED, NONE,    1.0f,   WORDS)  \
    ROW(Q6_K,     14,  256,  210,   6,   32,  16,  256, INT8,    NONE,       NONE,    1.0f,   WORDS)  \
    ROW(IQ2_XXS,  16,  256,   66,   3,  128,  32,  256, INT8,    NONE,       IQ2,     0.125f, BLOCKS) \
    ROW(IQ2_XS,   17,  256,   74,   3,  128,  16,  256, INT8,    NONE,       IQ2,     0.125f, BLOCKS) \
    ROW(IQ3_XXS,  18,  256,   98,   4,  128,  32,  256, INT8,    NONE,       IQ3_XXS, 0.25f,  BLOCKS) \
    ROW(IQ1_S,    19,  256,   50,   2,    0,  32,  256, INT8,    SUBTRACTED, NONE,    0.125f, BLOCKS) \
    ROW(IQ4_NL,   20,   32,   18,   4,  128,  32,   32, D,       NONE,       NL,      1.0f,   WORDS)  \
    ROW(IQ3_S,    21,  256,  110,   4,   16,  32,  256, INT8,    NONE,       IQ3_S,   1.0f,   BLOCKS) \
    ROW(IQ2_S,    22,  256,   82,   3,  128,  16,  256, INT8,    NONE,       IQ2,     0.125f, BLOCKS) \
    ROW(IQ4_XS,   23,  256,  136,   4,  128,  32,  256, INT8,    NONE,       NL,      1.0f,   WORDS)  \
    ROW(IQ1_M,    29,  256,   56,   3,   16,  16,  256, INT8,    NONE,       IQ1,     0.125f, BLOCKS) \
    ROW(TQ1_0,    34,  256,   54,   2,   16,  32,  256, D,       NONE,       DIBIT,   1.0f,   BLOCKS) \
    ROW(TQ2_0,    35,  256,   66,   2,   16,  32,  256, D,       NONE,       DIBIT,   1.0f,   BLOCKS) \
    ROW(MXFP4,    39,   32,   17,   4,   16,  32,   32, E8M0,    NONE,       FP4,     1.0f,   WORDS)  \
    ROW(NVFP4,    40,   64,   36,   4,   16,  16,  256, E4M3,    NONE,       FP4,     0.5f,   BLOCKS) \
    ROW(Q1_0,     41,  128,   18,   1,   16,  32,   32, D,       NONE,       BIT,     1.0f,   BLOCKS) \
    ROW(Q2_0,     42,   64,   18,   2,   16,  32,   32, D,       NONE,       DIBIT,   1.0f,   BLOCKS)

enum ox_type { /* ggml type numbers */
#define OX_ROW(name, number, ...) OX_##name = number,
    OX_FLOAT_TYPES(OX_ROW) OX_INT_TYPES(OX_ROW)
#undef OX_ROW
};

enum { OX_MAX_BLOCK = 256, OX_MAX_SUBS = 16 };

static inline ox_format ox_format_of(int32_t type) {
    switch (type) {
#define OX_ROW(name, number, bytes) \
    case number:                    \
        return (ox_format){1, bytes, 0, 0, 0, 0, OX_SCALES_D, OX_MIN_NONE, OX_BOOK_NONE, 1.0f, OX_PACKED_BLOCKS};
        OX_FLOAT_TYPES(OX_ROW)
#undef OX_ROW
#define OX_ROW(name, number, block, bytes, bits, offset, sub, act_sub, scales, minima, book, unit, packing) \
    case number:                                                                                           \
        return (ox_format){block, bytes, bits, offset, sub, act_sub, OX_SCALES_##scales, OX_MIN_##minima,  \
                           OX_BOOK_##book, unit, OX_PACKED_##packing};
        OX_INT_TYPES(OX_ROW)
#undef OX_ROW
        default:
            return (ox_format){0, 0, 0, 0, 0, 0, OX_SCALES_D, OX_MIN_NONE, OX_BOOK_NONE, 1.0f, OX_PACKED_BLOCKS};
    }
}

static inline size_t ox_row_bytes(int32_t type, int32_t k) {
    const ox_format f = ox_format_of(type);
    return f.block == 0 ? 0 : (size_t)(k / f.block) * (size_t)f.block_bytes;
}

/* Blocks as the file has them. Bytes only, since a block may begin at any address. */
typedef struct { uint8_t d[2], codes[16]; } ox_block_Q4_0;
typedef struct { uint8_t d[2], m[2], codes[16]; } ox_block_Q4_1;
typedef struct { uint8_t d[2], fifths[4], codes[16]; } ox_block_Q5_0;
typedef struct { uint8_t d[2], m[2], fifths[4], codes[16]; } ox_block_Q5_1;
typedef struct { uint8_t d[2], codes[32]; } ox_block_Q8_0;
typedef struct { uint8_t scales[16], dibits[64], d[2], dmin[2]; } ox_block_Q2_K;
typedef struct { uint8_t thirds[32], dibits[64], scales[12], d[2]; } ox_block_Q3_K;
typedef struct { uint8_t d[2], dmin[2], scales[12], codes[128]; } ox_block_Q4_K;
typedef struct { uint8_t d[2], dmin[2], scales[12], fifths[32], codes[128]; } ox_block_Q5_K;
typedef struct { uint8_t low[128], high[64], scales[16], d[2]; } ox_block_Q6_K;
typedef struct { uint8_t d[2], codes[16]; } ox_block_IQ4_NL;
typedef struct { uint8_t d[2], high_scales[2], low_scales[4], codes[128]; } ox_block_IQ4_XS;

typedef struct { uint8_t d[2], words[64]; } ox_block_IQ2_XXS;
typedef struct { uint8_t d[2], words[64], scales[8]; } ox_block_IQ2_XS;
typedef struct { uint8_t d[2], low[32], signs[32], high[8], scales[8]; } ox_block_IQ2_S;
typedef struct { uint8_t d[2], indices[64], words[32]; } ox_block_IQ3_XXS;
typedef struct { uint8_t d[2], low[64], high[8], signs[32], scales[4]; } ox_block_IQ3_S;
typedef struct { uint8_t d[2], low[32], high[16]; } ox_block_IQ1_S;
typedef struct { uint8_t low[32], high[16], scales[8]; } ox_block_IQ1_M;
typedef struct { uint8_t fives[48], fours[4], d[2]; } ox_block_TQ1_0;
typedef struct { uint8_t dibits[64], d[2]; } ox_block_TQ2_0;
typedef struct { uint8_t exponent, codes[16]; } ox_block_MXFP4;
typedef struct { uint8_t scales[4], codes[32]; } ox_block_NVFP4;
typedef struct { uint8_t d[2], bits[16]; } ox_block_Q1_0;
typedef struct { uint8_t d[2], dibits[16]; } ox_block_Q2_0;

#define OX_ROW(name, number, block, bytes, ...) \
    _Static_assert(sizeof(ox_block_##name) == (bytes), "the block of " #name " has another size");
OX_INT_TYPES(OX_ROW)
#undef OX_ROW

#endif
