/* Operations on one row of floats. Each reduces in an order that depends on the row's length only. Not here: anything
 * that sees more than one token. */
#ifndef OX_ROWS_H
#define OX_ROWS_H

/* Sum of squares: four chains of 16 lanes, then a fixed tree. */
static float K(sum_squares)(int32_t n, const float *x) {
    vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    int32_t i = 0;
    for (; i + 64 <= n; i += 64) {
        for (int32_t chain = 0; chain < 4; chain++) {
            const vf v = vf_load(x + i + 16 * chain);
            sum[chain] = vf_fma(v, v, sum[chain]);
        }
    }
    for (; i < n; i += 16) {
        const vf v = vf_load_n(x + i, n - i);
        sum[0] = vf_fma(v, v, sum[0]);
    }
    return vf_sum(vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3])));
}

static void K(rms_norm)(int32_t n, const float *x, const float *weight, float eps, float *y) {
    const vf factor = vf_set(1.0f / sqrtf(K(sum_squares)(n, x) / (float)n + eps));
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const vf v = vf_mul(vf_load(x + i), factor);
        vf_store(y + i, weight ? vf_mul(v, vf_load(weight + i)) : v);
    }
    if (i < n) {
        const vf v = vf_mul(vf_load_n(x + i, n - i), factor);
        vf_store_n(y + i, weight ? vf_mul(v, vf_load_n(weight + i, n - i)) : v, n - i);
    }
}

/* Sum: the chains and the tree of sum_squares(). */
static float K(sum)(int32_t n, const float *x) {
    vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    int32_t i = 0;
    for (; i + 64 <= n; i += 64) {
        for (int32_t chain = 0; chain < 4; chain++) {
            sum[chain] = vf_add(sum[chain], vf_load(x + i + 16 * chain));
        }
    }
    for (; i < n; i += 16) {
        sum[0] = vf_add(sum[0], vf_load_n(x + i, n - i));
    }
    return vf_sum(vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3])));
}

/* Sum of squares of what lies between x and `mean`; in two passes, since one loses digits where the mean is large. */
static float K(sum_deviations)(int32_t n, const float *x, float mean) {
    const vf m = vf_set(mean);
    vf sum[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
    int32_t i = 0;
    for (; i + 64 <= n; i += 64) {
        for (int32_t chain = 0; chain < 4; chain++) {
            const vf v = vf_sub(vf_load(x + i + 16 * chain), m);
            sum[chain] = vf_fma(v, v, sum[chain]);
        }
    }
    for (; i < n; i += 16) {
        const vf v = vf_select(vm_first(n - i), vf_sub(vf_load_n(x + i, n - i), m), vf_zero());
        sum[0] = vf_fma(v, v, sum[0]);
    }
    return vf_sum(vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3])));
}

static void K(layer_norm)(int32_t n, const float *x, const float *weight, const float *bias, float eps, float *y) {
    const float mean = K(sum)(n, x) / (float)n;
    const vf factor = vf_set(1.0f / sqrtf(K(sum_deviations)(n, x, mean) / (float)n + eps));
    for (int32_t i = 0; i < n; i += 16) {
        vf v = vf_mul(vf_sub(vf_load_n(x + i, n - i), vf_set(mean)), factor);
        v = weight ? vf_mul(v, vf_load_n(weight + i, n - i)) : v;
        vf_store_n(y + i, bias ? vf_add(v, vf_load_n(bias + i, n - i)) : v, n - i);
    }
}

static void K(add)(int32_t n, const float *x, const float *y, float *out) {
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        vf_store(out + i, vf_add(vf_load(x + i), vf_load(y + i)));
    }
    if (i < n) {
        vf_store_n(out + i, vf_add(vf_load_n(x + i, n - i), vf_load_n(y + i, n - i)), n - i);
    }
}

static void K(multiply)(int32_t n, const float *x, const float *y, float *out) {
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        vf_store(out + i, vf_mul(vf_load(x + i), vf_load(y + i)));
    }
    if (i < n) {
        vf_store_n(out + i, vf_mul(vf_load_n(x + i, n - i), vf_load_n(y + i, n - i)), n - i);
    }
}

static void K(scale)(int32_t n, float factor, const float *x, float *out) {
    const vf f = vf_set(factor);
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        vf_store(out + i, vf_mul(vf_load(x + i), f));
    }
    if (i < n) {
        vf_store_n(out + i, vf_mul(vf_load_n(x + i, n - i), f), n - i);
    }
}

static void K(add_scaled)(int32_t n, const float *x, float factor, const float *y, float *out) {
    const vf f = vf_set(factor);
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        vf_store(out + i, vf_fma(vf_load(y + i), f, vf_load(x + i)));
    }
    if (i < n) {
        vf_store_n(out + i, vf_fma(vf_load_n(y + i, n - i), f, vf_load_n(x + i, n - i)), n - i);
    }
}

/* Element-wise, so the compiler's own vectorisation cannot change a bit. */
static void K(rope_interleaved)(int32_t pairs, const float *restrict cos_sin, float *restrict x) {
    for (int32_t i = 0; i < pairs; i++) {
        const float c = cos_sin[i];
        const float s = cos_sin[pairs + i];
        const float even = x[2 * i];
        const float odd = x[2 * i + 1];
        x[2 * i] = even * c - odd * s;
        x[2 * i + 1] = even * s + odd * c;
    }
}

static void K(rope_halves)(int32_t pairs, const float *restrict cos_sin, float *restrict low, float *restrict high) {
    for (int32_t i = 0; i < pairs; i++) {
        const float c = cos_sin[i];
        const float s = cos_sin[pairs + i];
        const float first = low[i];
        const float second = high[i];
        low[i] = first * c - second * s;
        high[i] = first * s + second * c;
    }
}

static void K(rope)(ox_rope_layout layout, int32_t n_heads, int32_t head_dim, int32_t rope_dims, const float *cos_sin,
                    float *x) {
    const int32_t pairs = rope_dims / 2;
    for (int32_t head = 0; head < n_heads; head++) {
        float *row = x + (size_t)head * (size_t)head_dim;
        if (layout == OX_ROPE_HALVES) {
            K(rope_halves)(pairs, cos_sin, row, row + pairs);
        } else {
            K(rope_interleaved)(pairs, cos_sin, row);
        }
    }
}

/* Sums of 512 in float32, those in double: a vocabulary of 10^5 would cost a float32 chain its last digits. */
static double K(log_sum_exp)(int32_t n, const float *x) {
    const vf lowest = vf_set(-INFINITY);
    vf greatest = lowest;
    vm bad = vm_first(0);
    for (int32_t i = 0; i < n; i += 16) {
        vf v = i + 16 <= n ? vf_load(x + i) : vf_select(vm_first(n - i), vf_load_n(x + i, n - i), lowest);
        bad = vm_or(bad, vf_isnan(v));
        greatest = vf_max(v, greatest);
    }
    if (vm_any(bad)) {
        return (double)NAN;
    }
    const float top = vf_reduce_max(greatest);
    if (!(top > -INFINITY && top < INFINITY)) {
        return (double)top;
    }
    double total = 0.0;
    for (int32_t start = 0; start < n; start += 512) {
        const int32_t end = start + 512 < n ? start + 512 : n;
        vf sum = vf_zero();
        for (int32_t i = start; i < end; i += 16) {
            vf v = i + 16 <= end ? vf_load(x + i) : vf_select(vm_first(end - i), vf_load_n(x + i, end - i), lowest);
            sum = vf_add(sum, vf_exp(vf_sub(v, vf_set(top))));
        }
        total += (double)vf_sum(sum);
    }
    return (double)top + log(total);
}

#endif
