/* What the matrix products of a level share: the size of a register tile, the scratch memory and the way results
 * leave. */
#ifndef OX_MATMUL_SHAPE_H
#define OX_MATMUL_SHAPE_H

#include "pack/rows.h"

/* A register tile is OX_TILE_STRIPS x 16 rows by at most OX_TILE_COLS tokens; up to OX_DIRECT_COLS tokens are
 * multiplied straight from the packed weights, more than that from a panel of bytes that is unpacked once for all of
 * them. Under a sanitizer the compiler needs minutes for the full tiles, and small ones touch the same memory. */
#if defined(__SANITIZE_ADDRESS__)
#  if defined(OX_HAS_AVX512)
enum { OX_TILE_STRIPS = 2, OX_TILE_COLS = 2, OX_DIRECT_COLS = 1 };
#  else
enum { OX_TILE_STRIPS = 1, OX_TILE_COLS = 2, OX_DIRECT_COLS = 1 };
#  endif
#elif defined(OX_HAS_AVX512)
enum { OX_TILE_STRIPS = 2, OX_TILE_COLS = 6, OX_DIRECT_COLS = 6 };
#elif defined(OX_HAS_AVX2)
enum { OX_TILE_STRIPS = 1, OX_TILE_COLS = 4, OX_DIRECT_COLS = 2 };
#elif defined(OX_HAS_NEON)
enum { OX_TILE_STRIPS = 1, OX_TILE_COLS = 4, OX_DIRECT_COLS = 2 };
#else
enum { OX_TILE_STRIPS = 1, OX_TILE_COLS = 2, OX_DIRECT_COLS = 1 };
#endif

/* 32 rows x 256 k as bytes, [8 subs][8 words][2 strips][64], with the float scale of every row and sub-block. */
typedef struct ox_panel {
    uint8_t codes[OX_GROUP_ROWS * OX_ACT_BLOCK];
    float scales[OX_MAX_SUBS][OX_GROUP_ROWS];
    float added[8][OX_GROUP_ROWS];   /* OX_MIN_ADDED: the minimum of each sub-block */
    float neg_dmin[OX_GROUP_ROWS];   /* OX_MIN_SUBTRACTED */
    const uint8_t *minima;           /* OX_MIN_SUBTRACTED: the pairs in the header of the tile */
} ox_panel;

enum { OX_PANEL_BYTES = (sizeof(ox_panel) + OX_ALIGN - 1) / OX_ALIGN * OX_ALIGN };

/* Weights are fetched this far ahead of the stream, in address order. The hardware alone does not run ahead while
 * codes that are in the cache already are multiplied, nor past a K-quant's header, which is read bit by bit between
 * the codes: without this K-quants reach 60 % of the read bandwidth, and eight tokens half of their speed
 * (matmul_speed.py). */
enum { OX_AHEAD_LINES = 128 };

/* The same where tiles of tokens take turns over an activation block. A single block ahead comes too late: seven
 * tokens are done with theirs in a quarter of a microsecond, and lose a quarter of their speed (matmul_speed.py). */
enum { OX_AHEAD_BLOCKS = 2 };

/* Lines behind the end of the weights do no harm: a fetch cannot fault. */
OX_INLINE void ox_fetch_lines(const uint8_t *at, int32_t n) {
    OX_UNROLL
    for (int32_t line = 0; line < n; line++) {
        __builtin_prefetch(at + (size_t)line * OX_LINE);
    }
}

/* A panel, then the running totals [n][32] of the products. */
static size_t K(matmul_scratch)(int32_t n) {
    return OX_PANEL_BYTES + (size_t)n * OX_GROUP_ROWS * sizeof(float);
}

/* Tokens of the next tile when `left` remain: tiles of nearly equal width, because a narrow one wastes the loads. */
OX_INLINE int32_t ox_tile_width(int32_t left, const int32_t widest) {
    const int32_t tiles = (left + widest - 1) / widest;
    return (left + tiles - 1) / tiles;
}

/* The cases of a switch over the width of a tile. */
#define OX_EACH_WIDTH(do) do(1) do(2) do(3) do(4) do(5) do(6)

/* Sub-blocks of 32 k in an activation block. */
OX_INLINE int32_t ox_subs_of(int32_t k, int32_t block) {
    const int32_t left = (k - block * OX_ACT_BLOCK) / 32;
    return left < 8 ? left : 8;
}

/* Scales the totals of a strip whose first row is `row`, adds the bias, and stores the valid rows. */
OX_INLINE void K(write_strip)(const ox_matrix *w, int32_t row, vf total, float *out, int32_t accumulate) {
    const int32_t valid = w->rows - row;
    total = vf_mul(total, vf_set(w->scale));
    if (valid >= 16) {
        if (w->bias) {
            total = vf_add(total, vf_load(w->bias + row));
        }
        vf_store(out, accumulate ? vf_add(vf_load(out), total) : total);
    } else if (valid > 0) {
        if (w->bias) {
            total = vf_add(total, vf_load_n(w->bias + row, valid));
        }
        vf_store_n(out, accumulate ? vf_add(vf_load_n(out, valid), total) : total, valid);
    }
}

static void K(write_totals)(const ox_matrix *w, int32_t row, const float *totals, int32_t n, float *out,
                            size_t out_stride, int32_t accumulate) {
    for (int32_t t = 0; t < n; t++) {
        for (int32_t s = 0; s < 2; s++) {
            K(write_strip)(w, row + 16 * s, vf_load(totals + 32 * t + 16 * s), out + (size_t)t * out_stride + 16 * s,
                           accumulate);
        }
    }
}

#endif
