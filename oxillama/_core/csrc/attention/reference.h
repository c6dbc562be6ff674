/* The scalar oracles of attention/kv.h and attention/attention.h: the same memory, the textbook formula, sums in
 * double. */
#ifndef OX_ATTENTION_REFERENCE_H
#define OX_ATTENTION_REFERENCE_H

#include "half.h"
#include "attention/kv_layout.h"

static void K(kv_layout)(ox_kv_layout *layout) {
    ox_kv_fill_layout(layout);
}

/* Writes dimension d of a row to index `at` of the values at `memory`; the quantised type passes its scale. */
static void K(kv_put)(ox_kv_type type, uint8_t *memory, int32_t at, float x, uint16_t scale) {
    switch (type) {
    case OX_KV_F32:
        ((float *)(void *)memory)[at] = x;
        break;
    case OX_KV_F16:
        ((uint16_t *)(void *)memory)[at] = ox_f32_to_f16(x);
        break;
    case OX_KV_BF16:
        ((uint16_t *)(void *)memory)[at] = ox_f32_to_bf16(x);
        break;
    case OX_KV_Q8_0: {
        const float step = ox_f16_to_f32(scale);
        const float q = step > 0.0f ? nearbyintf(x / step) : 0.0f;
        ((int8_t *)memory)[at] = (int8_t)(q < -127.0f ? -127.0f : q > 127.0f ? 127.0f : q);
        break;
    }
    }
}

/* The value at index `at`; a quantised one takes its scale from index `scale_at` behind the values. */
static double K(kv_get)(ox_kv_type type, const uint8_t *memory, size_t scales, int32_t at, int32_t scale_at) {
    switch (type) {
    case OX_KV_F32:
        return (double)((const float *)(const void *)memory)[at];
    case OX_KV_F16:
        return (double)ox_f16_to_f32(((const uint16_t *)(const void *)memory)[at]);
    case OX_KV_BF16:
        return (double)ox_bf16_to_f32(((const uint16_t *)(const void *)memory)[at]);
    case OX_KV_Q8_0:
        break;
    }
    const uint16_t scale = ((const uint16_t *)(const void *)(memory + scales))[scale_at];
    return (double)((const int8_t *)memory)[at] * (double)ox_f16_to_f32(scale);
}

static uint16_t K(kv_scale)(int32_t dim, const float *row, int32_t sub) {
    float greatest = 0.0f;
    for (int32_t d = 32 * sub; d < dim && d < 32 * sub + 32; d++) {
        if (!(fabsf(row[d]) < INFINITY)) {
            return 0x7e00;
        }
        greatest = fmaxf(greatest, fabsf(row[d]));
    }
    return ox_f32_to_f16(fminf(greatest / 127.0f, 65504.0f));
}

static void K(kv_store)(const ox_kv_layout *layout, const float *k, const float *v, int32_t slot, uint8_t *block) {
    const int32_t stride = ox_kv_v_stride(layout);
    const int32_t n_k = ox_kv_sub_blocks(layout, layout->k_dim);
    const int32_t n_v = ox_kv_sub_blocks(layout, layout->v_dim);
    for (int32_t head = 0; head < layout->n_head_kv; head++) {
        uint8_t *k_memory = block + (size_t)head * layout->head_bytes;
        uint8_t *v_memory = k_memory + layout->k_bytes;
        const float *k_row = k + (size_t)head * (size_t)layout->k_dim;
        const float *v_row = v + (size_t)head * (size_t)layout->v_dim;
        uint16_t *k_scales = (uint16_t *)(void *)(k_memory + ox_kv_k_scales(layout));
        uint16_t *v_scales = (uint16_t *)(void *)(v_memory + ox_kv_v_scales(layout));
        for (int32_t sub = 0; sub < n_k; sub++) {
            k_scales[sub * OX_KV_BLOCK + slot] = K(kv_scale)(layout->k_dim, k_row, sub);
        }
        for (int32_t sub = 0; sub < n_v; sub++) {
            v_scales[slot * n_v + sub] = K(kv_scale)(layout->v_dim, v_row, sub);
        }
        for (int32_t d = 0; d < layout->k_dim; d++) {
            K(kv_put)(layout->type, k_memory, d * OX_KV_BLOCK + slot, k_row[d],
                      n_k ? k_scales[d / 32 * OX_KV_BLOCK + slot] : 0);
        }
        for (int32_t d = 0; d < stride; d++) {
            K(kv_put)(layout->type, v_memory, slot * stride + d, d < layout->v_dim ? v_row[d] : 0.0f,
                      n_v && d < layout->v_dim ? v_scales[slot * n_v + d / 32] : 0);
        }
    }
}

static const uint8_t *K(kv_head)(const ox_kv_layout *layout, const ox_attention_run *run, int32_t position) {
    const size_t block = (size_t)run->blocks[position / OX_KV_BLOCK];
    return run->layer + block * layout->block_bytes + (size_t)run->head_kv * layout->head_bytes;
}

/* Of query head `head` of the group, at `position`, with a key. */
static double K(attention_score)(const ox_kv_layout *layout, const ox_attention_run *run, const float *q, int32_t head,
                                 int32_t position, int32_t key) {
    const uint8_t *k = K(kv_head)(layout, run, key);
    const int32_t slot = key % OX_KV_BLOCK;
    double sum = 0.0;
    for (int32_t d = 0; d < layout->k_dim; d++) {
        sum += (double)q[d] * K(kv_get)(layout->type, k, ox_kv_k_scales(layout), d * OX_KV_BLOCK + slot,
                                        d / 32 * OX_KV_BLOCK + slot);
    }
    sum *= (double)run->scale;
    if (run->soft_cap > 0.0f) {
        sum = (double)run->soft_cap * tanh(sum / (double)run->soft_cap);
    }
    return run->slopes ? sum - (double)run->slopes[head] * fabs((double)(key - position)) : sum;
}

static void K(attention_row)(const ox_kv_layout *layout, const ox_attention_run *run, int32_t head, int32_t position,
                             const float *q, float *out) {
    const int32_t stride = ox_kv_v_stride(layout);
    const int32_t n_sub = ox_kv_sub_blocks(layout, layout->v_dim);
    int32_t first, end;
    ox_attended_keys(run, position, &first, &end);
    double top = run->sinks ? (double)run->sinks[head] : -INFINITY;
    for (int32_t key = first; key < end; key++) {
        top = fmax(top, K(attention_score)(layout, run, q, head, position, key));
    }
    double total = run->sinks ? exp((double)run->sinks[head] - top) : 0.0;
    double *sums = run->scratch;
    memset(sums, 0, (size_t)layout->v_dim * sizeof *sums);
    for (int32_t key = first; key < end; key++) {
        const double p = exp(K(attention_score)(layout, run, q, head, position, key) - top);
        const uint8_t *v = K(kv_head)(layout, run, key) + layout->k_bytes;
        const int32_t slot = key % OX_KV_BLOCK;
        total += p;
        for (int32_t d = 0; d < layout->v_dim; d++) {
            sums[d] += p * K(kv_get)(layout->type, v, ox_kv_v_scales(layout), slot * stride + d, slot * n_sub + d / 32);
        }
    }
    for (int32_t d = 0; d < layout->v_dim; d++) {
        out[d] = (float)(sums[d] / total);
    }
}

static void K(attention)(const ox_kv_layout *layout, const ox_attention_run *run) {
    for (int32_t token = 0; token < run->n_tokens; token++) {
        for (int32_t head = 0; head < run->group; head++) {
            K(attention_row)(layout, run, head, run->first_position + token,
                             run->q + (size_t)token * run->q_stride + (size_t)head * (size_t)layout->k_dim,
                             run->out + (size_t)token * run->out_stride + (size_t)head * (size_t)layout->v_dim);
        }
    }
}

static size_t K(attention_scratch)(const ox_kv_layout *layout, int32_t group) {
    (void)group;
    return ((size_t)layout->v_dim * sizeof(double) + OX_ALIGN - 1) / OX_ALIGN * OX_ALIGN;
}

/* Sums in double have no ranges: never divided. */
static size_t K(attention_part_floats)(const ox_kv_layout *layout, int32_t group) {
    (void)layout;
    (void)group;
    return 0;
}

#endif
