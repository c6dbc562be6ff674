/* Writing a token into a KV block. Rounding to the type of the cache happens here, once; reading is exact. */
#ifndef OX_KV_H
#define OX_KV_H

#include "attention/kv_layout.h"

static void K(kv_layout)(ox_kv_layout *layout) {
    ox_kv_fill_layout(layout);
}

/* Quantises n (1..32) values to int8 with one float16 scale. A sub-block with a NaN or an infinity gets a NaN scale, so
 * that the fault stays visible. */
static uint16_t K(kv_quantize)(int32_t n, const float *x, int8_t *quants) {
    uint32_t greatest = 0; /* bits of non-negative floats order as the floats do, NaN above all */
    for (int32_t i = 0; i < n; i++) {
        const uint32_t magnitude = ox_float_bits(x[i]) & 0x7fffffffu;
        greatest = magnitude > greatest ? magnitude : greatest;
    }
    if (greatest >= 0x7f800000u) {
        memset(quants, 0, (size_t)n);
        return 0x7e00;
    }
    const float step = ox_bits_float(greatest) / 127.0f;
    const uint16_t scale = ox_f32_to_f16(step < 65504.0f ? step : 65504.0f);
    const float rounded = ox_f16_to_f32(scale);
    for (int32_t i = 0; i < n; i++) {
        float q = rounded > 0.0f ? x[i] / rounded : 0.0f;
        q = q < -127.0f ? -127.0f : q > 127.0f ? 127.0f : q;
        /* 1.5 * 2^23: adding it rounds to nearest even and leaves the integer in the low bits */
        quants[i] = (int8_t)(int32_t)(ox_float_bits(q + 12582912.0f) - 0x4b400000u);
    }
    return scale;
}

OX_INLINE void K(kv_store_k_q8)(const ox_kv_layout *layout, const float *k, int32_t slot, uint8_t *head) {
    int8_t *values = (int8_t *)head;
    uint16_t *scales = (uint16_t *)(void *)(head + ox_kv_k_scales(layout));
    for (int32_t start = 0; start < layout->k_dim; start += 32) {
        const int32_t n = layout->k_dim - start < 32 ? layout->k_dim - start : 32;
        int8_t quants[32];
        scales[start / 32 * OX_KV_BLOCK + slot] = K(kv_quantize)(n, k + start, quants);
        for (int32_t i = 0; i < n; i++) {
            values[(start + i) * OX_KV_BLOCK + slot] = quants[i];
        }
    }
}

OX_INLINE void K(kv_store_v_q8)(const ox_kv_layout *layout, const float *v, int32_t slot, uint8_t *memory) {
    const int32_t n_sub = ox_kv_sub_blocks(layout, layout->v_dim);
    const int32_t stride = ox_kv_v_stride(layout);
    int8_t *values = (int8_t *)memory + (size_t)slot * (size_t)stride;
    uint16_t *scales = (uint16_t *)(void *)(memory + ox_kv_v_scales(layout));
    for (int32_t start = 0; start < layout->v_dim; start += 32) {
        const int32_t n = layout->v_dim - start < 32 ? layout->v_dim - start : 32;
        scales[slot * n_sub + start / 32] = K(kv_quantize)(n, v + start, values + start);
    }
    memset(values + layout->v_dim, 0, (size_t)(stride - layout->v_dim));
}

OX_INLINE void K(kv_store_head_f32)(const ox_kv_layout *layout, const float *k, const float *v, int32_t slot,
                                    uint8_t *head) {
    const int32_t stride = ox_kv_v_stride(layout);
    float *k_values = (float *)(void *)head;
    float *v_values = (float *)(void *)(head + layout->k_bytes) + (size_t)slot * (size_t)stride;
    for (int32_t i = 0; i < layout->k_dim; i++) {
        k_values[i * OX_KV_BLOCK + slot] = k[i];
    }
    for (int32_t i = 0; i < stride; i += 16) {
        vf_store(v_values + i, vf_load_n(v + i, layout->v_dim - i));
    }
}

OX_INLINE void K(kv_store_16_bits)(ox_kv_type type, uint16_t *p, vf v) {
    if (type == OX_KV_F16) {
        vf_store_f16(p, v);
    } else {
        vf_store_bf16(p, v);
    }
}

OX_INLINE void K(kv_store_head_16_bits)(const ox_kv_layout *layout, const float *k, const float *v, int32_t slot,
                                        uint8_t *head) {
    const int32_t stride = ox_kv_v_stride(layout);
    uint16_t *k_values = (uint16_t *)(void *)head;
    uint16_t *v_values = (uint16_t *)(void *)(head + layout->k_bytes) + (size_t)slot * (size_t)stride;
    for (int32_t i = 0; i < layout->k_dim; i += 16) {
        const int32_t n = layout->k_dim - i < 16 ? layout->k_dim - i : 16;
        uint16_t narrow[16];
        K(kv_store_16_bits)(layout->type, narrow, vf_load_n(k + i, n));
        for (int32_t j = 0; j < n; j++) {
            k_values[(i + j) * OX_KV_BLOCK + slot] = narrow[j];
        }
    }
    for (int32_t i = 0; i < stride; i += 16) {
        K(kv_store_16_bits)(layout->type, v_values + i, vf_load_n(v + i, layout->v_dim - i));
    }
}

static void K(kv_store)(const ox_kv_layout *layout, const float *k, const float *v, int32_t slot, uint8_t *block) {
    for (int32_t head = 0; head < layout->n_head_kv; head++) {
        const float *key = k + (size_t)head * (size_t)layout->k_dim;
        const float *value = v + (size_t)head * (size_t)layout->v_dim;
        uint8_t *memory = block + (size_t)head * layout->head_bytes;
        switch (layout->type) {
        case OX_KV_F32:
            K(kv_store_head_f32)(layout, key, value, slot, memory);
            break;
        case OX_KV_F16:
        case OX_KV_BF16:
            K(kv_store_head_16_bits)(layout, key, value, slot, memory);
            break;
        case OX_KV_Q8_0:
            K(kv_store_k_q8)(layout, key, slot, memory);
            K(kv_store_v_q8)(layout, value, slot, memory + layout->k_bytes);
            break;
        }
    }
}

#endif
