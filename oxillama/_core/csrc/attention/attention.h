/* Attention of a run of query rows with one KV head, in an order that depends on absolute positions only.
 *
 * A row walks tiles of 32 keys, ascending, with an online softmax (Milakov and Gimelshein, 2018) that starts anew every
 * 1024 keys; the partial results are merged in ascending order. Rows are worked off in batches that share each tile's
 * conversion to float32; nothing of one row ever enters another. Masked keys are skipped: their slots may hold
 * anything. */
#ifndef OX_ATTENTION_H
#define OX_ATTENTION_H

#include "rows/activations.h"
#include "attention/kv.h"

#include "attention/rows.h"

enum { OX_BATCH_ROWS = 64 };

/* A batch of query rows; row = token * group + head of the group, so the key ranges of the rows ascend. */
typedef struct K(row_batch) {
    int32_t rows;
    int32_t micro;            /* rows per call of the inner loops; the last call may have fewer */
    int32_t stride;           /* floats per row of sums: v_stride */
    int32_t first[OX_BATCH_ROWS], end[OX_BATCH_ROWS]; /* keys [first, end) of each row */
    float top[OX_BATCH_ROWS]; /* of the current range: greatest score, then per lane the sum of weights, then per */
    float *lanes;             /* [rows][16]                               dimension the sum of weights times values */
    float *sums;              /* [rows][stride] */
    float slope[OX_BATCH_ROWS];        /* of each row's head, 0 without any */
    int32_t position[OX_BATCH_ROWS];   /* of each row's token */
    float merged_top[OX_BATCH_ROWS], merged_total[OX_BATCH_ROWS];
    float *merged;            /* [rows][stride]: the ranges before the current one */
    float *q;                 /* per micro group [k_dim][rows of the group] */
    float *scores;            /* [rows][32], then the weights in the same place */
    float *k, *v;             /* the current tile as float32, where it pays to widen it once */
    float *scales;            /* q8_0: of the current tile of K or V, [sub-blocks][32] or [32][sub-blocks] */
} K(row_batch);

/* Whole tokens where the group allows it, so that the rows of a token share their masks. */
static int32_t K(batch_rows)(int32_t group) {
    return group < OX_BATCH_ROWS ? OX_BATCH_ROWS / group * group : OX_BATCH_ROWS;
}

static size_t K(attention_scratch)(const ox_kv_layout *layout, int32_t group) {
    const size_t rows = (size_t)K(batch_rows)(group);
    const size_t k_stride = (size_t)ox_kv_k_stride(layout);
    const size_t stride = (size_t)ox_kv_v_stride(layout);
    const size_t widest = k_stride > stride ? k_stride : stride;
    return (rows * (k_stride + stride * 2 + 16 + OX_KV_BLOCK) +
            OX_KV_BLOCK * (k_stride + stride + (widest + 31) / 32)) *
           sizeof(float);
}

static void K(carve_scratch)(K(row_batch) *batch, const ox_kv_layout *layout, int32_t group, float *scratch) {
    const size_t rows = (size_t)K(batch_rows)(group);
    const size_t k_stride = (size_t)ox_kv_k_stride(layout);
    const int32_t stride = ox_kv_v_stride(layout);
    batch->stride = stride;
    batch->k = scratch;
    batch->v = batch->k + OX_KV_BLOCK * k_stride;
    batch->q = batch->v + OX_KV_BLOCK * stride;
    batch->sums = batch->q + rows * k_stride;
    batch->merged = batch->sums + rows * (size_t)stride;
    batch->lanes = batch->merged + rows * (size_t)stride;
    batch->scores = batch->lanes + rows * 16;
    batch->scales = batch->scores + rows * OX_KV_BLOCK;
}

/* Takes rows [start, start + n) of the run: their key ranges and their queries, interleaved per micro group. */
static void K(fill_batch)(K(row_batch) *batch, const ox_attention_run *run, int32_t k_dim, int32_t start, int32_t n) {
    const int32_t calls = (n + OX_MICRO_ROWS - 1) / OX_MICRO_ROWS;
    batch->rows = n;
    batch->micro = (n + calls - 1) / calls;
    for (int32_t begin = 0; begin < n; begin += batch->micro) {
        const int32_t width = n - begin < batch->micro ? n - begin : batch->micro;
        const float *from[OX_MICRO_ROWS];
        float *to = batch->q + begin * k_dim;
        for (int32_t i = 0; i < width; i++) {
            const int32_t token = (start + begin + i) / run->group;
            const int32_t head = (start + begin + i) % run->group;
            const int32_t position = run->first_position + token;
            from[i] = run->q + (size_t)token * run->q_stride + (size_t)head * (size_t)k_dim;
            ox_attended_keys(run, position, &batch->first[begin + i], &batch->end[begin + i]);
            batch->position[begin + i] = position;
            batch->slope[begin + i] = run->slopes ? run->slopes[head] : 0.0f;
        }
        for (int32_t d = 0; d < k_dim; d++) {
            for (int32_t i = 0; i < width; i++) {
                *to++ = from[i][d];
            }
        }
    }
}

static void K(begin_range)(K(row_batch) *batch) {
    for (int32_t row = 0; row < batch->rows; row++) {
        batch->top[row] = -INFINITY;
    }
    memset(batch->lanes, 0, (size_t)batch->rows * 16 * sizeof(float));
    memset(batch->sums, 0, (size_t)batch->rows * (size_t)batch->stride * sizeof(float));
}

OX_INLINE void K(scale_row)(int32_t n, vf factor, float *x) {
    for (int32_t i = 0; i < n; i += 16) {
        vf_store(x + i, vf_mul(vf_load(x + i), factor));
    }
}

/* What becomes of 16 scores besides their scale; `distance`: from the row's token to the first of their keys. */
OX_INLINE vf K(shape_scores)(const ox_attention_run *run, vf scores, float slope, int32_t distance) {
    static const float steps[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    if (run->soft_cap > 0.0f) {
        const vf cap = vf_set(run->soft_cap);
        scores = vf_mul(cap, K(tanh)(vf_div(scores, cap)));
    }
    if (run->slopes) {
        /* Keys behind the row's token are as far away as those before it. */
        scores = vf_fma(vf_set(-slope), K(magnitude)(vf_add(vf_load(steps), vf_set((float)distance))), scores);
    }
    return scores;
}

/* Turns the scores of one row and the tile of keys from `base` on into weights; keys that the row does not attend are
 * masked. */
OX_INLINE void K(softmax_row)(K(row_batch) *batch, const ox_attention_run *run, int32_t row, int32_t base) {
    const int32_t first = batch->first[row] - base;
    const int32_t end = batch->end[row] - base;
    const float scale = run->scale;
    const vf least = vf_set(-INFINITY);
    float *scores = batch->scores + row * OX_KV_BLOCK;
    float *lanes = batch->lanes + row * 16;
    vf low = vf_mul(vf_load(scores), vf_set(scale));
    vf high = vf_mul(vf_load(scores + 16), vf_set(scale));
    if (run->slopes || run->soft_cap > 0.0f) {
        const int32_t distance = base - batch->position[row];
        low = K(shape_scores)(run, low, batch->slope[row], distance);
        high = K(shape_scores)(run, high, batch->slope[row], distance + 16);
    }
    if (first > 0 || end < OX_KV_BLOCK) {
        low = vf_select(vm_andnot(vm_first(end), vm_first(first)), low, least);
        high = vf_select(vm_andnot(vm_first(end - 16), vm_first(first - 16)), high, least);
    }
    vf total = vf_load(lanes);
    /* `top` seldom grows: a comparison in all lanes spares most rows the maximum across them. */
    const vf greater = vf_max(low, high);
    if (vm_any(vf_lt(vf_set(batch->top[row]), greater))) {
        const float greatest = vf_reduce_max(greater);
        if (greatest > batch->top[row]) {
            const vf shrink = vf_exp(vf_set(batch->top[row] - greatest));
            batch->top[row] = greatest;
            total = vf_mul(total, shrink);
            K(scale_row)(batch->stride, shrink, batch->sums + row * batch->stride);
        }
    }
    const vf top = vf_set(batch->top[row]);
    low = vf_exp_negative(vf_sub(low, top));
    high = vf_exp_negative(vf_sub(high, top));
    vf_store(scores, low);
    vf_store(scores + 16, high);
    vf_store(lanes, vf_add(total, vf_add(low, high)));
}

/* Adds the weighted values of one tile for rows [begin, until) of one micro group. Rows differ in their keys only where
 * the tile is cut by the diagonal or by the window: the common keys go together, the others row by row, in order. */
OX_INLINE void K(weigh_group)(K(row_batch) *batch, ox_kv_type type, K(kv_tile) v, int32_t base,
                              int32_t begin, int32_t until) {
    const int32_t stride = batch->stride;
    const int32_t last_first = batch->first[until - 1] - base;
    const int32_t first_end = batch->end[begin] - base;
    const int32_t common = last_first > 0 ? last_first : 0;
    const int32_t common_end = first_end < OX_KV_BLOCK ? first_end : OX_KV_BLOCK;
    for (int32_t row = begin; common > 0 && row < until && batch->first[row] - base < common; row++) {
        const int32_t first = batch->first[row] > base ? batch->first[row] - base : 0;
        const int32_t end = batch->end[row] - base < common ? batch->end[row] - base : common;
        K(weigh)(type, 1, stride, batch->scores + row * OX_KV_BLOCK, v, first, end, batch->sums + row * stride);
    }
    if (common < common_end) {
        K(weigh)(type, until - begin, stride, batch->scores + begin * OX_KV_BLOCK, v, common, common_end,
                 batch->sums + begin * stride);
    }
    for (int32_t row = begin; row < until; row++) {
        const int32_t first = common > common_end ? common : common_end;
        const int32_t end = batch->end[row] - base < OX_KV_BLOCK ? batch->end[row] - base : OX_KV_BLOCK;
        if (first < end) {
            K(weigh)(type, 1, stride, batch->scores + row * OX_KV_BLOCK, v, first, end, batch->sums + row * stride);
        }
    }
}

/* Whether a tile is widened to float32 once, because many rows will read it; the values are the same either way. */
OX_INLINE int32_t K(widens)(const K(row_batch) *batch, const ox_kv_layout *layout) {
    return layout->type != OX_KV_F32 && batch->rows > 2 * batch->micro;
}

/* `next` is the same head in the block that follows. */
static void K(attend_tile)(K(row_batch) *batch, const ox_kv_layout *layout, const ox_attention_run *run,
                           const uint8_t *head, const uint8_t *next, int32_t base) {
    int32_t begin = 0;
    int32_t until = batch->rows;
    while (batch->end[begin] <= base) {
        begin++;
    }
    while (batch->first[until - 1] >= base + OX_KV_BLOCK) {
        until--;
    }
    const int32_t widen = K(widens)(batch, layout);
    const ox_kv_type type = widen ? OX_KV_F32 : layout->type;
    K(kv_tile) k = {head, K(kv_scales)(layout, layout->k_dim, head + ox_kv_k_scales(layout), batch->scales), next};
    if (widen) {
        K(widen_k)(layout, k, batch->k);
        k.values = k.next = (const uint8_t *)batch->k;
    }
    const int32_t group_begin = begin - begin % batch->micro;
    for (int32_t row = group_begin; row < until; row += batch->micro) {
        const int32_t rows = batch->rows - row < batch->micro ? batch->rows - row : batch->micro;
        if (widen) {
            K(prefetch_share)(next, layout->k_bytes, row, row + rows, batch->rows);
        }
        K(score)(type, rows, layout->k_dim, batch->q + row * layout->k_dim, k, batch->scores + row * OX_KV_BLOCK);
    }
    for (int32_t row = begin; row < until; row++) {
        K(softmax_row)(batch, run, row, base);
    }
    const uint8_t *values = head + layout->k_bytes;
    K(kv_tile) v = {values, K(kv_scales)(layout, layout->v_dim, values + ox_kv_v_scales(layout), batch->scales),
                    next + layout->k_bytes};
    if (widen) {
        const int32_t first = batch->first[begin] > base ? batch->first[begin] - base : 0;
        const int32_t end = batch->end[until - 1] - base < OX_KV_BLOCK ? batch->end[until - 1] - base : OX_KV_BLOCK;
        K(widen_v)(layout, v, first, end, batch->v);
        v.values = v.next = (const uint8_t *)batch->v;
    }
    for (int32_t row = begin; row < until; row += batch->micro) {
        const int32_t end = until - row < batch->micro ? until : row + batch->micro;
        if (widen) {
            K(prefetch_share)(next + layout->k_bytes, layout->head_bytes - layout->k_bytes, row, end, batch->rows);
        }
        K(weigh_group)(batch, type, v, base, row, end);
    }
}

/* Merges the partial result of a range into those of the ranges before it. */
static void K(merge_row)(int32_t stride, const float *sums, float top, float total, float *merged, float *merged_top,
                         float *merged_total) {
    const float both = *merged_top > top ? *merged_top : top;
    const vf keep = vf_exp(vf_set(*merged_top - both));
    const vf take = vf_exp(vf_set(top - both));
    float factors[2][16];
    vf_store(factors[0], keep);
    vf_store(factors[1], take);
    *merged_top = both;
    *merged_total = *merged_total * factors[0][0] + total * factors[1][0];
    for (int32_t i = 0; i < stride; i += 16) {
        vf_store(merged + i, vf_fma(vf_load(sums + i), take, vf_mul(vf_load(merged + i), keep)));
    }
}

/* Merges the range that begins at key `range` into what came before it, for the rows that have keys in it. */
static void K(end_range)(K(row_batch) *batch, int32_t range) {
    const int32_t stride = batch->stride;
    for (int32_t row = 0; row < batch->rows; row++) {
        if (batch->end[row] <= range || batch->first[row] >= range + OX_ATTN_RANGE) {
            continue;
        }
        const float total = vf_sum(vf_load(batch->lanes + row * 16));
        const float *sums = batch->sums + row * stride;
        float *merged = batch->merged + row * stride;
        if (batch->first[row] >= range) {
            batch->merged_top[row] = batch->top[row];
            batch->merged_total[row] = total;
            memcpy(merged, sums, (size_t)stride * sizeof(float));
        } else {
            K(merge_row)(stride, sums, batch->top[row], total, merged, &batch->merged_top[row],
                         &batch->merged_total[row]);
        }
    }
}

/* Writes a row's output: the sum of weights times values over the sum of weights. A sink, merged last, adds to the
latter
 * only; `top` is the greatest score of the keys. */
static void K(write_row)(int32_t v_dim, const float *sums, float top, float total, const float *sink, float *out) {
    vf divisor = vf_set(total);
    vf factor = vf_set(1.0f);
    if (sink) {
        const float both = *sink > top ? *sink : top;
        factor = vf_exp(vf_set(top - both));
        divisor = vf_fma(divisor, factor, vf_exp(vf_set(*sink - both)));
    }
    for (int32_t i = 0; i < v_dim; i += 16) {
        const vf sum = vf_load(sums + i);
        vf_store_n(out + i, vf_div(sink ? vf_mul(sum, factor) : sum, divisor), v_dim - i);
    }
}

static void K(write_batch)(const K(row_batch) *batch, const ox_attention_run *run, int32_t v_dim, int32_t start) {
    for (int32_t row = 0; row < batch->rows; row++) {
        const int32_t token = (start + row) / run->group;
        const int32_t head = (start + row) % run->group;
        K(write_row)(v_dim, batch->merged + row * batch->stride, batch->merged_top[row], batch->merged_total[row],
                     run->sinks ? run->sinks + head : NULL,
                     run->out + (size_t)token * run->out_stride + (size_t)head * (size_t)v_dim);
    }
}

/* The keys of the range that begins at key `range`, for all rows of the batch; some row has a key in it. */
static void K(walk_range)(K(row_batch) *batch, const ox_kv_layout *layout, const ox_attention_run *run, int32_t range) {
    const int32_t first = batch->first[0] > range ? batch->first[0] : range;
    const int32_t all_end = batch->end[batch->rows - 1];
    const int32_t end = all_end < range + OX_ATTN_RANGE ? all_end : range + OX_ATTN_RANGE;
    const uint8_t *head = run->layer + (size_t)run->head_kv * layout->head_bytes;
    K(begin_range)(batch);
    for (int32_t tile = first / OX_KV_BLOCK; tile * OX_KV_BLOCK < end; tile++) {
        const int32_t following = (tile + 1) * OX_KV_BLOCK < all_end ? tile + 1 : tile;
        K(attend_tile)(batch, layout, run, head + (size_t)run->blocks[tile] * layout->block_bytes,
                       head + (size_t)run->blocks[following] * layout->block_bytes, tile * OX_KV_BLOCK);
    }
}

static void K(attention)(const ox_kv_layout *layout, const ox_attention_run *run) {
    K(row_batch) batch;
    K(carve_scratch)(&batch, layout, run->group, run->scratch);
    const int32_t all = run->n_tokens * run->group;
    const int32_t step = K(batch_rows)(run->group);
    for (int32_t start = 0; start < all; start += step) {
        K(fill_batch)(&batch, run, layout->k_dim, start, all - start < step ? all - start : step);
        const int32_t first = batch.first[0] - batch.first[0] % OX_ATTN_RANGE;
        for (int32_t range = first; range < batch.end[batch.rows - 1]; range += OX_ATTN_RANGE) {
            K(walk_range)(&batch, layout, run, range);
            K(end_range)(&batch, range);
        }
        K(write_batch)(&batch, run, layout->v_dim, start);
    }
}

/* The part of a range: sums [group][v_stride], then the greatest scores [group], then the totals [group]. */
static size_t K(attention_part_floats)(const ox_kv_layout *layout, int32_t group) {
    const size_t floats = (size_t)group * ((size_t)ox_kv_v_stride(layout) + 2);
    return group <= K(batch_rows)(group) ? (floats + 15) / 16 * 16 : 0;
}

static void K(attention_range)(const ox_kv_layout *layout, const ox_attention_run *run, int32_t range, float *part) {
    K(row_batch) batch;
    K(carve_scratch)(&batch, layout, run->group, run->scratch);
    K(fill_batch)(&batch, run, layout->k_dim, 0, run->group);
    K(walk_range)(&batch, layout, run, range);
    float *tops = part + run->group * batch.stride;
    memcpy(part, batch.sums, (size_t)run->group * (size_t)batch.stride * sizeof(float));
    for (int32_t row = 0; row < run->group; row++) {
        tops[row] = batch.top[row];
        tops[run->group + row] = vf_sum(vf_load(batch.lanes + row * 16));
    }
}

static void K(attention_merge)(const ox_kv_layout *layout, const ox_attention_run *run, int32_t n, float *parts) {
    const int32_t stride = ox_kv_v_stride(layout);
    const size_t size = K(attention_part_floats)(layout, run->group);
    for (int32_t row = 0; row < run->group; row++) {
        float *merged = parts + row * stride;
        float *top = parts + run->group * stride + row;
        for (int32_t i = 1; i < n; i++) {
            const float *part = parts + (size_t)i * size;
            const float *tops = part + run->group * stride + row;
            K(merge_row)(stride, part + row * stride, tops[0], tops[run->group], merged, top, top + run->group);
        }
        K(write_row)(layout->v_dim, merged, top[0], top[run->group], run->sinks ? run->sinks + row : NULL,
                     run->out + (size_t)row * (size_t)layout->v_dim);
    }
}

#endif
