/* Packing rows of the file into the layout of pack/pack.h, four rows at a time: a vector holds one word of each of four
 * rows, which is what lies side by side in the layout, so taking codes apart and putting them together is arithmetic
 * on whole words.
 *
 * Plain vector extensions of the compiler: 16 bytes are what every level has, and wider ones gain nothing here, since
 * packing waits for memory (benchmarks/load_speed.py). */
#ifndef OX_PACK_ROWS_H
#define OX_PACK_ROWS_H

#include "pack/pack.h"

typedef uint32_t ox_words __attribute__((vector_size(16)));
typedef uint16_t ox_word_halves __attribute__((vector_size(16)));
typedef uint8_t ox_word_bytes __attribute__((vector_size(16)));

#if defined(__clang__)
#  define OX_SHUFFLE(type, x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#  define OX_SHUFFLE(type, x, y, ...) __builtin_shuffle(x, y, (type){__VA_ARGS__})
#endif

/* Where a part of a block begins. */
#define OX_AT(name, part) offsetof(ox_block_##name, part)

/* The blocks of four rows that are packed together. */
typedef struct ox_four_rows {
    const uint8_t *block[4];
} ox_four_rows;

/* Sixteen bytes of each row, turned: words[i] has word i of every row. */
OX_INLINE void K(read_words)(const ox_four_rows *rows, size_t offset, ox_words words[4]) {
    ox_words row[4];
    for (int32_t r = 0; r < 4; r++) {
        memcpy(&row[r], rows->block[r] + offset, sizeof row[r]);
    }
    const ox_words a = OX_SHUFFLE(ox_words, row[0], row[1], 0, 4, 1, 5);
    const ox_words b = OX_SHUFFLE(ox_words, row[2], row[3], 0, 4, 1, 5);
    const ox_words c = OX_SHUFFLE(ox_words, row[0], row[1], 2, 6, 3, 7);
    const ox_words d = OX_SHUFFLE(ox_words, row[2], row[3], 2, 6, 3, 7);
    words[0] = OX_SHUFFLE(ox_words, a, b, 0, 1, 4, 5);
    words[1] = OX_SHUFFLE(ox_words, a, b, 2, 3, 6, 7);
    words[2] = OX_SHUFFLE(ox_words, c, d, 0, 1, 4, 5);
    words[3] = OX_SHUFFLE(ox_words, c, d, 2, 3, 6, 7);
}

OX_INLINE ox_words K(read_word)(const ox_four_rows *rows, size_t offset) {
    return (ox_words){ox_read_u32(rows->block[0] + offset), ox_read_u32(rows->block[1] + offset),
                      ox_read_u32(rows->block[2] + offset), ox_read_u32(rows->block[3] + offset)};
}

OX_INLINE void K(copy_halves)(const ox_four_rows *rows, size_t offset, uint8_t *out) {
    for (int32_t r = 0; r < 4; r++) {
        memcpy(out + 2 * r, rows->block[r] + offset, 2);
    }
}

OX_INLINE void K(write_exponents)(const ox_four_rows *rows, uint8_t *out) {
    for (int32_t r = 0; r < 4; r++) {
        const uint16_t d = ox_e8m0_to_bf16(rows->block[r][OX_AT(MXFP4, exponent)]);
        memcpy(out + 2 * r, &d, 2);
    }
}

/* The low, or by a shift other, bits of every byte. */
OX_INLINE ox_words K(pick)(ox_words words, const int32_t right, const uint32_t mask) {
    return (words >> right) & (mask * 0x01010101u);
}

/* Of blocks of 32: the eight words of low and high nibbles of 16 bytes. */
OX_INLINE void K(read_nibbles)(const ox_four_rows *rows, size_t offset, ox_words code[OX_WORDS]) {
    ox_words words[4];
    K(read_words)(rows, offset, words);
    for (int32_t j = 0; j < 4; j++) {
        code[j] = K(pick)(words[j], 0, 15);
        code[j + 4] = K(pick)(words[j], 4, 15);
    }
}

/* Bit i of the word belongs to value i. The product puts copies of four bits 7 apart, so that one lands in each
 * byte. */
OX_INLINE void K(add_fifth_bits)(const ox_four_rows *rows, size_t offset, ox_words code[OX_WORDS]) {
    const ox_words bits = K(read_word)(rows, offset);
    for (int32_t q = 0; q < OX_WORDS; q++) {
        code[q] |= ((((bits >> (4 * q)) & 15u) * 0x00204081u) & 0x01010101u) << 4;
    }
}

/* Bit `bit` of each of 32 bytes. */
OX_INLINE void K(add_bits)(const ox_words bytes[8], const int32_t bit, const int32_t left, ox_words code[OX_WORDS]) {
    for (int32_t q = 0; q < OX_WORDS; q++) {
        code[q] |= K(pick)(bytes[q], bit, 1) << left;
    }
}

/* Of blocks of 256: the codes of half a block, four sub-blocks of 32. */
OX_INLINE void K(read_half)(const int32_t type, const ox_four_rows *rows, const int32_t half,
                            ox_words code[4][OX_WORDS]) {
    ox_words low[16], high[8];
    if (type == OX_IQ4_XS) {
        for (int32_t s = 0; s < 4; s++) {
            K(read_nibbles)(rows, OX_AT(IQ4_XS, codes) + (size_t)(64 * half + 16 * s), code[s]);
        }
        return;
    }
    if (type == OX_Q2_K || type == OX_Q3_K) {
        const size_t dibits = type == OX_Q2_K ? OX_AT(Q2_K, dibits) : OX_AT(Q3_K, dibits);
        for (int32_t i = 0; i < 2; i++) {
            K(read_words)(rows, dibits + (size_t)(32 * half + 16 * i), low + 4 * i);
            K(read_words)(rows, OX_AT(Q3_K, thirds) + (size_t)(16 * i), high + 4 * i);
        }
        for (int32_t s = 0; s < 4; s++) {
            for (int32_t q = 0; q < OX_WORDS; q++) {
                code[s][q] = K(pick)(low[q], 2 * s, 3);
            }
            if (type == OX_Q3_K) {
                K(add_bits)(high, 4 * half + s, 2, code[s]);
            }
        }
        return;
    }
    const size_t nibbles = type == OX_Q4_K   ? OX_AT(Q4_K, codes)
                           : type == OX_Q5_K ? OX_AT(Q5_K, codes)
                                             : OX_AT(Q6_K, low);
    for (int32_t i = 0; i < 4; i++) {
        K(read_words)(rows, nibbles + (size_t)(64 * half + 16 * i), low + 4 * i);
    }
    if (type == OX_Q6_K) {
        for (int32_t i = 0; i < 2; i++) {
            K(read_words)(rows, OX_AT(Q6_K, high) + (size_t)(32 * half + 16 * i), high + 4 * i);
        }
        for (int32_t s = 0; s < 4; s++) {
            for (int32_t q = 0; q < OX_WORDS; q++) {
                code[s][q] = K(pick)(low[8 * (s % 2) + q], 4 * (s / 2), 15) | (K(pick)(high[q], 2 * s, 3) << 4);
            }
        }
        return;
    }
    if (type == OX_Q5_K) {
        for (int32_t i = 0; i < 2; i++) {
            K(read_words)(rows, OX_AT(Q5_K, fifths) + (size_t)(16 * i), high + 4 * i);
        }
    }
    for (int32_t s = 0; s < 4; s++) {
        for (int32_t q = 0; q < OX_WORDS; q++) {
            code[s][q] = K(pick)(low[8 * (s / 2) + q], 4 * (s % 2), 15);
        }
        if (type == OX_Q5_K) {
            K(add_bits)(high, 4 * half + s, 4, code[s]);
        }
    }
}

OX_INLINE void K(read_32)(const int32_t type, const ox_four_rows *rows, ox_words code[OX_WORDS]) {
    switch (type) {
        case OX_Q4_0:
        case OX_IQ4_NL: K(read_nibbles)(rows, OX_AT(Q4_0, codes), code); break;
        case OX_Q4_1: K(read_nibbles)(rows, OX_AT(Q4_1, codes), code); break;
        case OX_MXFP4: K(read_nibbles)(rows, OX_AT(MXFP4, codes), code); break;
        case OX_Q5_0:
            K(read_nibbles)(rows, OX_AT(Q5_0, codes), code);
            K(add_fifth_bits)(rows, OX_AT(Q5_0, fifths), code);
            break;
        case OX_Q5_1:
            K(read_nibbles)(rows, OX_AT(Q5_1, codes), code);
            K(add_fifth_bits)(rows, OX_AT(Q5_1, fifths), code);
            break;
        default: /* OX_Q8_0 */
            K(read_words)(rows, OX_AT(Q8_0, codes), code);
            K(read_words)(rows, OX_AT(Q8_0, codes) + 16, code + 4);
            for (int32_t q = 0; q < OX_WORDS; q++) {
                code[q] ^= 0x80808080u;
            }
    }
}

/* The codes of 32 k into their lines; `cell` is the place of the four rows in the first line. */
OX_INLINE void K(write_codes)(const int32_t bits, const ox_words code[OX_WORDS], uint8_t *cell) {
    if (bits == 8) {
        for (int32_t q = 0; q < OX_WORDS; q++, cell += 2 * OX_LINE) {
            const ox_words bytes = OX_SIGNED_BYTES ? code[q] ^ 0x80808080u : code[q];
            memcpy(cell, &bytes, sizeof bytes);
        }
        return;
    }
    if (ox_has_single_bits(bits)) {
        ox_words line = {0};
        for (int32_t q = 0; q < OX_WORDS; q++) {
            line |= K(pick)(code[q], ox_single_bit(bits), 1) << q;
        }
        memcpy(cell, &line, sizeof line);
        cell += 2 * OX_LINE;
    }
    if (ox_has_dibits(bits)) {
        for (int32_t h = 0; h < 2; h++, cell += 2 * OX_LINE) {
            ox_words line = {0};
            for (int32_t c = 0; c < 4; c++) {
                line |= K(pick)(code[4 * h + c], bits == 6 ? 4 : 0, 3) << (2 * c);
            }
            memcpy(cell, &line, sizeof line);
        }
    }
    if (ox_has_nibbles(bits)) {
        for (int32_t j = 0; j < 4; j++, cell += 2 * OX_LINE) {
            const ox_words line = K(pick)(code[j], 0, 15) | (K(pick)(code[j + 4], 0, 15) << 4);
            memcpy(cell, &line, sizeof line);
        }
    }
}

/* Scales of four sub-blocks of each row, a line of rows per sub-block; `out` is the place of the rows in the first. */
OX_INLINE void K(write_scales)(ox_words scales, uint8_t *out) {
    const ox_word_bytes bytes = (ox_word_bytes)scales;
    const ox_word_bytes turned =
        OX_SHUFFLE(ox_word_bytes, bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    for (int32_t i = 0; i < 4; i++) {
        memcpy(out + OX_GROUP_ROWS * i, (const uint8_t *)&turned + 4 * i, 4);
    }
}

/* Two halves of a word of each row, `stride` bytes apart. */
OX_INLINE void K(write_halves)(ox_words words, size_t stride, uint8_t *out) {
    const ox_word_halves halves = (ox_word_halves)words;
    const ox_word_halves turned = OX_SHUFFLE(ox_word_halves, halves, halves, 0, 2, 4, 6, 1, 3, 5, 7);
    memcpy(out, &turned, 8);
    memcpy(out + stride, (const uint8_t *)&turned + 8, 8);
}

/* Scales and minima of a block of 256, the former as signed bytes in the order of the sub-blocks. */
OX_INLINE void K(write_header)(const int32_t type, const ox_four_rows *rows, int32_t row, uint8_t *tile) {
    uint8_t *scales = tile + ox_scales_offset(type) + row;
    ox_words word[4];
    if (type == OX_Q2_K || type == OX_Q6_K) {
        K(read_words)(rows, type == OX_Q2_K ? OX_AT(Q2_K, scales) : OX_AT(Q6_K, scales), word);
    } else if (type == OX_Q3_K) {
        const ox_words low[2] = {K(read_word)(rows, OX_AT(Q3_K, scales)),
                                 K(read_word)(rows, OX_AT(Q3_K, scales) + 4)};
        const ox_words high = K(read_word)(rows, OX_AT(Q3_K, scales) + 8);
        for (int32_t i = 0; i < 4; i++) {
            word[i] = K(pick)(low[i % 2], 4 * (i / 2), 15) | (K(pick)(high, 2 * i, 3) << 4);
            word[i] = (ox_words)((ox_word_bytes)word[i] - 32);
        }
    } else if (type == OX_IQ4_XS) {
        const ox_words low = K(read_word)(rows, OX_AT(IQ4_XS, low_scales));
        const ox_words high = K(read_word)(rows, OX_AT(IQ4_XS, d)) >> 16;
        for (int32_t i = 0; i < 2; i++) {
            /* four scales: nibbles and pairs of bits, spread over the bytes of a word */
            const ox_words nibbles = (low >> (16 * i)) & 0xffffu;
            const ox_words pairs = (high >> (8 * i)) & 0xffu;
            word[i] = (nibbles & 15u) | ((nibbles & 0xf0u) << 4) | ((nibbles & 0xf00u) << 8) |
                      ((nibbles & 0xf000u) << 12);
            word[i] |= ((pairs & 3u) | ((pairs & 12u) << 6) | ((pairs & 48u) << 12) | ((pairs & 192u) << 18)) << 4;
            word[i] = (ox_words)((ox_word_bytes)word[i] - 32);
        }
    } else { /* OX_Q4_K, OX_Q5_K: the twelve bytes of ox_scales_and_minima() */
        K(read_words)(rows, 0, word);
        const ox_words low = word[1], high = word[2], rest = word[3];
        word[0] = K(pick)(low, 0, 63);
        word[1] = K(pick)(rest, 0, 15) | (K(pick)(low, 6, 3) << 4);
        uint8_t *minima = tile + ox_minima_offset(type) + 2 * row;
        K(write_halves)(K(pick)(high, 0, 63), 2 * OX_GROUP_ROWS, minima);
        K(write_halves)(K(pick)(rest, 4, 15) | (K(pick)(high, 6, 3) << 4), 2 * OX_GROUP_ROWS,
                        minima + 4 * OX_GROUP_ROWS);
    }
    for (int32_t i = 0; i < 64 / ox_format_of(type).sub; i++) {
        K(write_scales)(word[i], scales + 4 * OX_GROUP_ROWS * i);
    }
}

/* Where d and the minimum (or dmin) lie in a block of the file. */
OX_INLINE size_t ox_d_offset(const int32_t type) {
    return type == OX_Q2_K   ? OX_AT(Q2_K, d)
           : type == OX_Q3_K ? OX_AT(Q3_K, d)
           : type == OX_Q6_K ? OX_AT(Q6_K, d)
                             : 0;
}

/* One block of four rows, `row` the first of them, into its tile. */
OX_INLINE void K(pack_blocks)(const int32_t type, const ox_four_rows *rows, int32_t row, uint8_t *tile) {
    const ox_format f = ox_format_of(type);
    if (f.scales == OX_SCALES_E8M0) {
        K(write_exponents)(rows, tile + 2 * row);
    } else {
        K(copy_halves)(rows, ox_d_offset(type), tile + 2 * row);
    }
    if (f.minima != OX_MIN_NONE) {
        K(copy_halves)(rows, ox_d_offset(type) + 2, tile + OX_LINE + 2 * row);
    }
    uint8_t *cell = tile + ox_header_bytes(type) + 4 * row;
    ox_words code[4][OX_WORDS];
    if (f.block == 32) {
        K(read_32)(type, rows, code[0]);
        K(write_codes)(f.bits, code[0], cell);
        return;
    }
    K(write_header)(type, rows, row, tile);
    OX_UNROLL
    for (int32_t half = 0; half < 2; half++) {
        K(read_half)(type, rows, half, code);
        OX_UNROLL
        for (int32_t s = 0; s < 4; s++, cell += ox_codes_bytes(type)) {
            K(write_codes)(f.bits, code[s], cell);
        }
    }
}

/* Stands in for the rows that the last group lacks. */
static const uint8_t K(no_block)[OX_MAX_BLOCK] = {0};

/* Where the next step of four rows begins. A missing row stays where it is. */
typedef struct ox_row_steps {
    size_t bytes[4];
} ox_row_steps;

OX_INLINE void K(start_rows)(int32_t row, int32_t n_rows, const uint8_t *data, size_t row_bytes, size_t step_bytes,
                             ox_four_rows *rows, ox_row_steps *steps) {
    for (int32_t r = 0; r < 4; r++) {
        const int32_t exists = row + r < n_rows;
        rows->block[r] = exists ? data + (size_t)(row + r) * row_bytes : K(no_block);
        steps->bytes[r] = exists ? step_bytes : 0;
    }
}
OX_INLINE void K(next_rows)(ox_four_rows *rows, const ox_row_steps *steps) {
    for (int32_t r = 0; r < 4; r++) {
        rows->block[r] += steps->bytes[r];
    }
}

OX_INLINE void K(pack_codes)(const int32_t type, int32_t k, int32_t n_rows, const uint8_t *data, size_t row_bytes,
                             uint8_t *group) {
    const ox_format f = ox_format_of(type);
    for (int32_t row = 0; row < OX_GROUP_ROWS; row += 4) {
        ox_four_rows rows;
        ox_row_steps steps;
        K(start_rows)(row, n_rows, data, row_bytes, (size_t)f.block_bytes, &rows, &steps);
        for (int32_t i = 0; i < k / f.block; i++) {
            K(pack_blocks)(type, &rows, row, group + (size_t)i * ox_tile_bytes(type));
            K(next_rows)(&rows, &steps);
        }
    }
}

/* The same for any integer type, block by block through ox_codes: what pack_codes() must agree with, and fast enough
 * for types whose blocks have no form that suits four rows at a time. */
static void K(pack_decoded_blocks)(int32_t type, const ox_four_rows *rows, int32_t row, uint8_t *tile) {
    const ox_format f = ox_format_of(type);
    ox_codes codes[4];
    for (int32_t r = 0; r < 4; r++) {
        ox_decode_block(type, rows->block[r], &codes[r]);
        if (ox_d_bytes(type)) {
            memcpy(tile + 2 * (row + r), &codes[r].d, 2);
        }
        if (ox_m_bytes(type)) {
            memcpy(tile + OX_LINE + 2 * (row + r), &codes[r].m, 2);
        }
        uint8_t *scales = tile + ox_scales_offset(type) + row + r;
        for (int32_t s = 0; s < (int32_t)ox_scales_bytes(type) / OX_GROUP_ROWS; s++) {
            const uint8_t min = ox_minima_in_scales(type) ? (uint8_t)(codes[r].min[s] << 4) : 0;
            scales[OX_GROUP_ROWS * s] = (uint8_t)codes[r].scale[s] | min;
        }
        uint8_t *minima = tile + ox_minima_offset(type) + 2 * (row + r);
        for (int32_t s = 0; s < (int32_t)ox_minima_bytes(type) / OX_GROUP_ROWS; s++) {
            minima[2 * OX_GROUP_ROWS * (s / 2) + s % 2] = codes[r].min[s];
        }
    }
    uint8_t *cell = tile + ox_header_bytes(type) + 4 * row;
    for (int32_t k = 0; k < f.block; k += 32, cell += ox_codes_bytes(type)) {
        ox_words words[OX_WORDS];
        for (int32_t q = 0; q < OX_WORDS; q++) {
            words[q] = (ox_words){ox_read_u32(codes[0].code + k + 4 * q), ox_read_u32(codes[1].code + k + 4 * q),
                                  ox_read_u32(codes[2].code + k + 4 * q), ox_read_u32(codes[3].code + k + 4 * q)};
        }
        K(write_codes)(f.bits, words, cell);
    }
}

static void K(pack_decoded)(int32_t type, int32_t k, int32_t n_rows, const uint8_t *data, size_t row_bytes,
                            uint8_t *group) {
    const ox_format f = ox_format_of(type);
    for (int32_t row = 0; row < OX_GROUP_ROWS; row += 4) {
        ox_four_rows rows;
        ox_row_steps steps;
        K(start_rows)(row, n_rows, data, row_bytes, (size_t)f.block_bytes, &rows, &steps);
        for (int32_t i = 0; i < k / f.block; i++) {
            K(pack_decoded_blocks)(type, &rows, row, group + (size_t)i * ox_tile_bytes(type));
            K(next_rows)(&rows, &steps);
        }
    }
}

OX_INLINE void K(pack_floats)(const size_t size, int32_t k, int32_t n_rows, const uint8_t *data, size_t row_bytes,
                              uint8_t *group) {
    const int32_t per_step = (int32_t)(sizeof(ox_words) / size);
    const size_t stride = OX_GROUP_ROWS * size;  /* from one k to the next */
    for (int32_t row = 0; row < OX_GROUP_ROWS; row += 4) {
        ox_four_rows rows;
        ox_row_steps steps;
        uint8_t *cell = group + (size_t)row * size;
        K(start_rows)(row, n_rows, data, row_bytes, sizeof(ox_words), &rows, &steps);
        for (int32_t i = 0; i < k / per_step; i++) {
            ox_words words[4];
            K(read_words)(&rows, 0, words);
            for (int32_t j = 0; j < 4; j++, cell += stride * (4 / size)) {
                if (size == 4) {
                    memcpy(cell, &words[j], sizeof words[j]);
                } else {
                    K(write_halves)(words[j], stride, cell);
                }
            }
            K(next_rows)(&rows, &steps);
        }
        for (int32_t i = 0; i < k % per_step; i++, cell += stride) {
            for (int32_t r = 0; r < 4; r++) {
                memcpy(cell + (size_t)r * size, rows.block[r] + (size_t)i * size, size);
            }
        }
    }
}

/* Pairs of bfloat16 are moved as words; a last single value gets zero for its other half. */
OX_INLINE void K(pack_pairs)(int32_t k, int32_t n_rows, const uint8_t *data, size_t row_bytes, uint8_t *group) {
    K(pack_floats)(4, k / 2, n_rows, data, row_bytes, group);
    if (k % 2 != 0) {
        uint8_t *cell = group + (size_t)(k / 2) * OX_GROUP_ROWS * 4;
        memset(cell, 0, OX_GROUP_ROWS * 4);
        for (int32_t r = 0; r < n_rows; r++) {
            memcpy(cell + 4 * r, data + (size_t)r * row_bytes + (size_t)(k - 1) * 2, 2);
        }
    }
}

static void K(pack_group_decoded)(int32_t type, int32_t k, int32_t n_rows, const uint8_t *rows, size_t row_bytes,
                                  uint8_t *group) {
    switch (type) {
        case OX_F32: K(pack_floats)(4, k, n_rows, rows, row_bytes, group); break;
        case OX_F16: K(pack_floats)(2, k, n_rows, rows, row_bytes, group); break;
        case OX_BF16:
            if (OX_BF16_PAIRS) {
                K(pack_pairs)(k, n_rows, rows, row_bytes, group);
            } else {
                K(pack_floats)(2, k, n_rows, rows, row_bytes, group);
            }
            break;
        default: K(pack_decoded)(type, k, n_rows, rows, row_bytes, group);
    }
}

static void K(pack_group)(int32_t type, int32_t k, int32_t n_rows, const uint8_t *rows, size_t row_bytes,
                          uint8_t *group) {
    switch (type) {
#define OX_ROW(name, ...)                                                        \
    case OX_##name:                                                              \
        if (ox_format_of(OX_##name).packing == OX_PACKED_WORDS) {                    \
            K(pack_codes)(OX_##name, k, n_rows, rows, row_bytes, group);         \
            return;                                                              \
        }                                                                        \
        break;
        OX_INT_TYPES(OX_ROW)
#undef OX_ROW
        default: break;
    }
    K(pack_group_decoded)(type, k, n_rows, rows, row_bytes, group);
}

#endif
