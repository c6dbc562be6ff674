/* The operations of vec.h as functions over arrays, so that tests can call them at every level. Compiled by
 * test_vec.py once per level with -DOX_LEVEL_*; lengths are in values and multiples of 16. */
#include "levels/kernel_includes.h"

#include "levels/isa_begin.h"

#include "vec/vec.h"

#define EACH(n) for (int32_t i = 0; i < (n); i += 16)

void probe_load_f16(int32_t n, const uint16_t *x, float *out) {
    EACH(n) { vf_store(out + i, vf_load_f16(x + i)); }
}
void probe_store_f16(int32_t n, const float *x, uint16_t *out) {
    EACH(n) { vf_store_f16(out + i, vf_load(x + i)); }
}
void probe_load_bf16(int32_t n, const uint16_t *x, float *out) {
    EACH(n) { vf_store(out + i, vf_load_bf16(x + i)); }
}
void probe_store_bf16(int32_t n, const float *x, uint16_t *out) {
    EACH(n) { vf_store_bf16(out + i, vf_load(x + i)); }
}
void probe_load_i8(int32_t n, const int8_t *x, float *out) {
    EACH(n) { vf_store(out + i, vf_load_i8(x + i)); }
}
void probe_store_i8(int32_t n, const float *x, int8_t *out) {
    EACH(n) { vf_store_i8(out + i, vf_load(x + i)); }
}
void probe_exp(int32_t n, const float *x, float *out) {
    EACH(n) { vf_store(out + i, vf_exp(vf_load(x + i))); }
}
void probe_round(int32_t n, const float *x, float *out) {
    EACH(n) { vf_store(out + i, vf_round(vf_load(x + i))); }
}

/* 0 add, 1 sub, 2 mul, 3 div, 4 max, 5 min, 6 lt ? x : y, 7 isnan(x) ? y : x, 8 -x */
void probe_binary(int32_t operation, const float *a, const float *b, float *out) {
    const vf x = vf_load(a);
    const vf y = vf_load(b);
    const vf results[9] = {vf_add(x, y), vf_sub(x, y), vf_mul(x, y), vf_div(x, y), vf_max(x, y), vf_min(x, y),
                           vf_select(vf_lt(x, y), x, y), vf_select(vf_isnan(x), y, x), vf_neg(x)};
    vf_store(out, results[operation]);
}
void probe_fma(const float *x, const float *y, const float *z, float *out) {
    vf_store(out, vf_fma(vf_load(x), vf_load(y), vf_load(z)));
}

float probe_sum(const float *x) { return vf_sum(vf_load(x)); }
float probe_reduce_max(const float *x) { return vf_reduce_max(vf_load(x)); }
void probe_load_n(int32_t n, const float *x, float *out) { vf_store(out, vf_load_n(x, n)); }
void probe_store_n(int32_t n, const float *x, float *out) { vf_store_n(out, vf_load(x), n); }

/* 1 in the lanes of [first, end) that are also in [0, end) or, with `join`, below `join`. */
int32_t probe_mask(int32_t first, int32_t end, int32_t join, float *out) {
    const vm inside = vm_andnot(vm_first(end), vm_first(first));
    const vm mask = vm_and(vm_or(inside, vm_first(join)), vm_first(16));
    vf_store(out, vf_select(mask, vf_set(1.0f), vf_zero()));
    return vm_any(mask);
}

#include "levels/isa_end.h"

void scalar_load_f16(int32_t n, const uint16_t *x, float *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = ox_f16_to_f32(x[i]);
    }
}
void scalar_store_f16(int32_t n, const float *x, uint16_t *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = ox_f32_to_f16(x[i]);
    }
}
void scalar_load_bf16(int32_t n, const uint16_t *x, float *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = ox_bf16_to_f32(x[i]);
    }
}
void scalar_store_bf16(int32_t n, const float *x, uint16_t *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = ox_f32_to_bf16(x[i]);
    }
}
