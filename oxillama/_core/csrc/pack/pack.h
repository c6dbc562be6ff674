/* How the vector levels keep weights, and reading a row back; pack/rows.h brings them into this layout.
 *
 * A group holds 32 rows as two strips of 16. A line is 64 bytes: 16 rows x 4 consecutive k (a "word"), so a 32-bit lane
 * is a row. A group is one ascending stream of tiles; a tile covers one block of the format: 32, 64, 128 or 256 k:
 *
 *   header   d            float16 [32 rows]; bfloat16 with OX_SCALES_E8M0; nothing with OX_SCALES_E4M3
 *            m or dmin    float16 [32]                              formats with minima
 *            scales       int8 [subs][32]                           OX_SCALES_INT8, OX_SCALES_E4M3
 *            minima       uint8 [4 pairs of subs][32 rows][2]       subtracted ones; with sub-blocks of 16 they are
 *                                                                   the high nibbles of the scales instead
 *   then for each 32 k:
 *            single bits  [2 strips][64]     bit q of a byte belongs to word q            1, 3, 5 bits
 *            dibits       [2][2 strips][64]  2 bits each; line h has words 4h .. 4h + 3   2, 3, 6 bits
 *            nibbles      [4][2 strips][64]  low: word j, high: word j + 4                4, 5, 6 bits
 *            bytes        [8][2 strips][64]                                               8 bits
 *
 * Float types: [k][32 rows]. Every part is a multiple of 64 bytes. */
#ifndef OX_PACK_H
#define OX_PACK_H

#include "pack/blocks.h"

enum { OX_LINE = 64, OX_WORDS = 8 };

/* Eight-bit codes are kept unsigned where the dot product wants unsigned weights, else as the signed value. */
#if defined(OX_HAS_AVX512) || defined(OX_HAS_AVX_VNNI)
enum { OX_SIGNED_BYTES = 0 };
#else
enum { OX_SIGNED_BYTES = 1 };
#endif

/* Does the level multiply pairs of bfloat16? Then a BF16 group is [pairs of k][32 rows][2], else [k][32 rows]. */
#if defined(OX_HAS_BF16)
enum { OX_BF16_PAIRS = 1 };
#else
enum { OX_BF16_PAIRS = 0 };
#endif

OX_INLINE size_t ox_float_bytes(int32_t type) {
    return type == OX_F32 ? 4 : 2;
}

/* The parts of a header, in their order. */
OX_INLINE size_t ox_d_bytes(int32_t type) {
    return ox_format_of(type).scales == OX_SCALES_E4M3 ? 0 : OX_LINE;
}
OX_INLINE size_t ox_m_bytes(int32_t type) {
    return ox_format_of(type).minima == OX_MIN_NONE ? 0 : OX_LINE;
}
OX_INLINE size_t ox_scales_bytes(int32_t type) {
    const ox_format f = ox_format_of(type);
    return f.scales == OX_SCALES_INT8 || f.scales == OX_SCALES_E4M3 ? (size_t)(f.block / f.sub) * OX_GROUP_ROWS : 0;
}
/* Subtracted minima have bytes of their own where sub-blocks have 32 values, else half of each scale's byte. */
OX_INLINE int32_t ox_minima_in_scales(int32_t type) {
    const ox_format f = ox_format_of(type);
    return f.minima == OX_MIN_SUBTRACTED && f.sub == 16;
}
OX_INLINE size_t ox_minima_bytes(int32_t type) {
    const ox_format f = ox_format_of(type);
    return f.minima == OX_MIN_SUBTRACTED && f.sub == 32 ? 8 * OX_GROUP_ROWS : 0;
}

OX_INLINE size_t ox_scales_offset(int32_t type) {
    return ox_d_bytes(type) + ox_m_bytes(type);
}
OX_INLINE size_t ox_minima_offset(int32_t type) {
    return ox_scales_offset(type) + (ox_minima_in_scales(type) ? 0 : ox_scales_bytes(type));
}
OX_INLINE size_t ox_header_bytes(int32_t type) {
    return ox_scales_offset(type) + ox_scales_bytes(type) + ox_minima_bytes(type);
}

/* Which parts the codes have, in this order. */
OX_INLINE int32_t ox_has_single_bits(const int32_t bits) {
    return bits == 1 || bits == 3 || bits == 5;
}
OX_INLINE int32_t ox_has_dibits(const int32_t bits) {
    return bits == 2 || bits == 3 || bits == 6;
}
OX_INLINE int32_t ox_has_nibbles(const int32_t bits) {
    return bits >= 4 && bits <= 6;
}

/* Where the single bit stands in a code. */
OX_INLINE int32_t ox_single_bit(const int32_t bits) {
    return bits == 1 ? 2 : bits - 1;
}

/* Bytes of the codes of 32 k, and of the part that stands before the nibbles. */
OX_INLINE size_t ox_codes_bytes(int32_t type) {
    return (size_t)ox_format_of(type).bits * 32 * OX_GROUP_ROWS / 8;
}
OX_INLINE size_t ox_high_bits_bytes(int32_t type) {
    const int32_t bits = ox_format_of(type).bits;
    return bits == 8 ? 0 : (size_t)(bits - 4) * 32 * OX_GROUP_ROWS / 8;
}

OX_INLINE size_t ox_tile_bytes(int32_t type) {
    return ox_header_bytes(type) + ox_codes_bytes(type) * (size_t)(ox_format_of(type).block / 32);
}

static size_t K(packed_group_bytes)(int32_t type, int32_t k) {
    const ox_format f = ox_format_of(type);
    if (f.block == 0) {
        return 0;
    }
    if (OX_BF16_PAIRS && type == OX_BF16) {
        return (size_t)((k + 1) / 2) * OX_GROUP_ROWS * 4;
    }
    if (f.bits == 0) {
        return (size_t)k * OX_GROUP_ROWS * ox_float_bytes(type);
    }
    return (size_t)(k / f.block) * ox_tile_bytes(type);
}

/* One row's codes of 32 k, eight words of four bytes; pack/rows.h is the other direction. */
static void K(unpack_codes)(int32_t bits, int32_t row, const uint8_t *lines, uint8_t *code) {
    const uint32_t *cell = (const uint32_t *)lines + (row / 16) * 16 + row % 16;
    uint32_t word[OX_WORDS] = {0};
    if (bits == 8) {
        for (int32_t q = 0; q < OX_WORDS; q++) {
            word[q] = OX_SIGNED_BYTES ? cell[32 * q] ^ 0x80808080u : cell[32 * q];
        }
    }
    if (ox_has_single_bits(bits)) {
        for (int32_t q = 0; q < OX_WORDS; q++) {
            word[q] |= ((*cell >> q) & 0x01010101u) << ox_single_bit(bits);
        }
        cell += 32;
    }
    if (ox_has_dibits(bits)) {
        for (int32_t q = 0; q < OX_WORDS; q++) {
            word[q] |= ((cell[32 * (q / 4)] >> (2 * (q % 4))) & 0x03030303u) << (bits == 6 ? 4 : 0);
        }
        cell += 64;
    }
    if (ox_has_nibbles(bits)) {
        for (int32_t q = 0; q < OX_WORDS; q++) {
            word[q] |= (cell[32 * (q % 4)] >> (q < 4 ? 0 : 4)) & 0x0f0f0f0fu;
        }
    }
    memcpy(code, word, sizeof word);
}

static void K(unpack_block)(int32_t type, int32_t row, const uint8_t *tile, float *out) {
    const ox_format f = ox_format_of(type);
    ox_codes codes;
    const size_t n_subs = (size_t)(f.block / f.sub);
    codes.d = ox_d_bytes(type) ? ox_read_u16(tile + 2 * row) : 0;
    codes.m = ox_m_bytes(type) ? ox_read_u16(tile + ox_d_bytes(type) + 2 * row) : 0;
    for (size_t s = 0; s < n_subs && ox_scales_bytes(type); s++) {
        const uint8_t scale = tile[ox_scales_offset(type) + s * OX_GROUP_ROWS + (size_t)row];
        codes.scale[s] = (int8_t)(ox_minima_in_scales(type) ? scale & 0x0f : scale);
        codes.min[s] = scale >> 4;
    }
    for (size_t s = 0; s < n_subs && ox_minima_bytes(type); s++) {
        codes.min[s] = tile[ox_minima_offset(type) + (s / 2 * OX_GROUP_ROWS + (size_t)row) * 2 + s % 2];
    }
    for (int32_t s = 0; s < f.block / 32; s++) {
        K(unpack_codes)(f.bits, row, tile + ox_header_bytes(type) + (size_t)s * ox_codes_bytes(type),
                        codes.code + 32 * s);
    }
    ox_block_values(type, &codes, out);
}

static void K(unpack_row)(const ox_matrix *w, int32_t row, float *out) {
    const ox_format f = ox_format_of(w->type);
    const uint8_t *group = w->data + (size_t)(row / OX_GROUP_ROWS) * w->group_bytes;
    const int32_t r = row % OX_GROUP_ROWS;
    if (OX_BF16_PAIRS && w->type == OX_BF16) {
        for (int32_t i = 0; i < w->k; i++) {
            const uint8_t *pair = group + (size_t)(i / 2 * OX_GROUP_ROWS + r) * 4;
            ox_dequantize_block(OX_BF16, pair + 2 * (i % 2), out + i);
        }
        return;
    }
    if (f.bits == 0) {
        const size_t size = ox_float_bytes(w->type);
        for (int32_t i = 0; i < w->k; i++) {
            ox_dequantize_block(w->type, group + (size_t)(i * OX_GROUP_ROWS + r) * size, out + i);
        }
        return;
    }
    for (int32_t i = 0; i < w->k / f.block; i++) {
        K(unpack_block)(w->type, r, group + (size_t)i * ox_tile_bytes(w->type), out + i * f.block);
    }
}

#endif
