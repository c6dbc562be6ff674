/* How one head of a KV block lies in memory: the contract that storing, attending and the scalar reference share.
 *
 *   K  [k_dim][32 tokens]        q8_0: int8 values, then float16 scales [sub-blocks][32 tokens]
 *   V  [32 tokens][v_stride]     q8_0: int8 values, then float16 scales [32 tokens][sub-blocks]
 *
 * A sub-block is 32 consecutive dimensions of one token (the last one may be shorter); its value is
 * quant * scale, which float32 holds without rounding. The format is ggml's Q8_0 with scales kept apart. */
#ifndef OX_KV_LAYOUT_H
#define OX_KV_LAYOUT_H

static inline size_t ox_kv_value_bytes(ox_kv_type type) {
    return type == OX_KV_F32 ? 4 : type == OX_KV_Q8_0 ? 1 : 2;
}

/* V's row length in values: whole vectors, so that no load or store needs a mask. The padding holds zeros. */
static inline int32_t ox_kv_v_stride(const ox_kv_layout *layout) {
    return (layout->v_dim + 15) & ~15;
}

static inline int32_t ox_kv_k_stride(const ox_kv_layout *layout) {
    return (layout->k_dim + 15) & ~15;
}

/* Sub-blocks of a row of `dim` values. */
static inline int32_t ox_kv_sub_blocks(const ox_kv_layout *layout, int32_t dim) {
    return layout->type == OX_KV_Q8_0 ? (dim + 31) / 32 : 0;
}

/* Offsets of the scales behind the values, in bytes from the beginning of K and of V. */
static inline size_t ox_kv_k_scales(const ox_kv_layout *layout) {
    return (size_t)layout->k_dim * OX_KV_BLOCK;
}

static inline size_t ox_kv_v_scales(const ox_kv_layout *layout) {
    return (size_t)ox_kv_v_stride(layout) * OX_KV_BLOCK;
}

static inline void ox_kv_fill_layout(ox_kv_layout *layout) {
    const size_t value = ox_kv_value_bytes(layout->type);
    const size_t scale = OX_KV_BLOCK * sizeof(uint16_t);
    const size_t k = (size_t)layout->k_dim * OX_KV_BLOCK * value + (size_t)ox_kv_sub_blocks(layout, layout->k_dim) *
    scale; const size_t v = (size_t)ox_kv_v_stride(layout) * OX_KV_BLOCK * value +
                     (size_t)ox_kv_sub_blocks(layout, layout->v_dim) * scale;
    layout->k_bytes = (k + OX_ALIGN - 1) / OX_ALIGN * OX_ALIGN;
    layout->head_bytes = layout->k_bytes + (v + OX_ALIGN - 1) / OX_ALIGN * OX_ALIGN;
    layout->block_bytes = (size_t)layout->n_head_kv * layout->head_bytes;
}

#endif
