/* The scalar oracles of rows/rows.h: the definition of each operation, summed in double. */
#ifndef OX_ROWS_REFERENCE_H
#define OX_ROWS_REFERENCE_H

static void K(rms_norm)(int32_t n, const float *x, const float *weight, float eps, float *y) {
    double squares = 0.0;
    for (int32_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
    }
    const double factor = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (int32_t i = 0; i < n; i++) {
        y[i] = (float)((double)x[i] * factor * (weight ? (double)weight[i] : 1.0));
    }
}

static void K(add)(int32_t n, const float *x, const float *y, float *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = x[i] + y[i];
    }
}

static void K(multiply)(int32_t n, const float *x, const float *y, float *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = x[i] * y[i];
    }
}

static void K(scale)(int32_t n, float factor, const float *x, float *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = x[i] * factor;
    }
}

static void K(add_scaled)(int32_t n, const float *x, float factor, const float *y, float *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = (float)((double)x[i] + (double)factor * (double)y[i]);
    }
}

static void K(layer_norm)(int32_t n, const float *x, const float *weight, const float *bias, float eps, float *y) {
    double mean = 0.0;
    for (int32_t i = 0; i < n; i++) {
        mean += (double)x[i];
    }
    mean /= (double)n;
    double squares = 0.0;
    for (int32_t i = 0; i < n; i++) {
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    }
    const double factor = 1.0 / sqrt(squares / (double)n + (double)eps);
    for (int32_t i = 0; i < n; i++) {
        const double v = ((double)x[i] - mean) * factor * (weight ? (double)weight[i] : 1.0);
        y[i] = (float)(v + (bias ? (double)bias[i] : 0.0));
    }
}

static void K(rope)(ox_rope_layout layout, int32_t n_heads, int32_t head_dim, int32_t rope_dims, const float *cos_sin,
                    float *x) {
    const int32_t pairs = rope_dims / 2;
    for (int32_t head = 0; head < n_heads; head++) {
        float *row = x + (size_t)head * (size_t)head_dim;
        for (int32_t i = 0; i < pairs; i++) {
            const int32_t a = layout == OX_ROPE_HALVES ? i : 2 * i;
            const int32_t b = layout == OX_ROPE_HALVES ? i + pairs : 2 * i + 1;
            const double c = (double)cos_sin[i];
            const double s = (double)cos_sin[pairs + i];
            const double first = (double)row[a];
            const double second = (double)row[b];
            row[a] = (float)(first * c - second * s);
            row[b] = (float)(first * s + second * c);
        }
    }
}

static double K(log_sum_exp)(int32_t n, const float *x) {
    double top = -INFINITY;
    for (int32_t i = 0; i < n; i++) {
        if (x[i] != x[i]) {
            return (double)NAN;
        }
        top = (double)x[i] > top ? (double)x[i] : top;
    }
    if (!(top > -INFINITY && top < INFINITY)) {
        return top;
    }
    double total = 0.0;
    for (int32_t i = 0; i < n; i++) {
        total += exp((double)x[i] - top);
    }
    return top + log(total);
}

#endif
