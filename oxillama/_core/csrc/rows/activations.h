/* Functions of single values, over rows. The same bits at every level that has fused multiply-adds: nothing of libm.
 * Bounds come first in vf_min() and vf_max(), which return the second of two that do not compare: a NaN stays one. */
#ifndef OX_ACTIVATIONS_H
#define OX_ACTIVATIONS_H

/* e^-|x| / (1 + e^-|x|) would lose nothing either, but takes a selection more; e^-x = inf gives 0 here, as it
 * should. */
OX_INLINE vf K(sigmoid)(vf x) {
    return vf_div(vf_set(1.0f), vf_add(vf_set(1.0f), vf_exp(vf_neg(x))));
}

OX_INLINE vf K(silu)(vf x) {
    return vf_div(x, vf_add(vf_set(1.0f), vf_exp(vf_neg(x))));
}

OX_INLINE vf K(magnitude)(vf x) {
    return vf_max(x, vf_neg(x));
}

/* To 1.2e-7 of the whole: 1 - 2 / (1 + e^2|x|), with the sign put back. */
OX_INLINE vf K(tanh)(vf x) {
    const vf twice = vf_add(K(magnitude)(x), K(magnitude)(x));
    const vf rest = vf_div(vf_set(2.0f), vf_add(vf_set(1.0f), vf_exp(twice)));
    const vf positive = vf_sub(vf_set(1.0f), rest);
    return vf_select(vf_lt(x, vf_zero()), vf_neg(positive), positive);
}

/* x (1 + tanh u) / 2 = x / (1 + e^-2u) with u = sqrt(2 / pi) (x + 0.044715 x^3): Hendrycks and Gimpel 2016,
 * arXiv:1606.08415. */
OX_INLINE vf K(gelu_tanh)(vf x) {
    const vf cube = vf_mul(vf_mul(x, x), vf_mul(x, vf_set(0.044715f)));
    const vf minus_2u = vf_mul(vf_set(-1.5957691216f), vf_add(x, cube));
    return vf_div(x, vf_add(vf_set(1.0f), vf_exp(minus_2u)));
}

/* x times the normal distribution function. erfc(z) = p(t) e^-z^2 with t = 1 / (1 + 0.3275911 z) to 1.5e-7: Abramowitz
 * and Stegun, Handbook of Mathematical Functions, 7.1.26. */
OX_INLINE vf K(gelu)(vf x) {
    const vf z = vf_mul(K(magnitude)(x), vf_set(0.70710678f));
    const vf t = vf_div(vf_set(1.0f), vf_fma(z, vf_set(0.3275911f), vf_set(1.0f)));
    vf p = vf_fma(t, vf_set(1.061405429f), vf_set(-1.453152027f));
    p = vf_fma(p, t, vf_set(1.421413741f));
    p = vf_fma(p, t, vf_set(-0.284496736f));
    p = vf_fma(p, t, vf_set(0.254829592f));
    const vf tail = vf_mul(vf_mul(p, t), vf_exp(vf_neg(vf_mul(z, z))));
    const vf half = vf_mul(vf_mul(x, vf_set(0.5f)), tail);
    return vf_select(vf_lt(x, vf_zero()), half, vf_sub(x, half));
}

/* log(1 + e^x) = max(x, 0) + log(1 + e^-|x|); the latter by log(1 + e) = 2 atanh(e / (2 + e)), a series in a number up
 * to 1/3. */
OX_INLINE vf K(softplus)(vf x) {
    const vf e = vf_exp(vf_neg(K(magnitude)(x)));
    const vf s = vf_div(e, vf_add(e, vf_set(2.0f)));
    const vf square = vf_mul(s, s);
    vf sum = vf_fma(square, vf_set(1.0f / 15.0f), vf_set(1.0f / 13.0f));
    sum = vf_fma(sum, square, vf_set(1.0f / 11.0f));
    sum = vf_fma(sum, square, vf_set(1.0f / 9.0f));
    sum = vf_fma(sum, square, vf_set(1.0f / 7.0f));
    sum = vf_fma(sum, square, vf_set(1.0f / 5.0f));
    sum = vf_fma(sum, square, vf_set(1.0f / 3.0f));
    sum = vf_fma(sum, square, vf_set(1.0f));
    return vf_add(vf_max(x, vf_zero()), vf_mul(vf_add(s, s), sum));
}

/* xIELU (Huang and Schlag 2024, arXiv:2411.13010); p: alpha for x > 0, alpha for the others, beta, epsilon. */
OX_INLINE vf K(xielu)(vf x, const float *p) {
    const vf linear = vf_mul(vf_set(p[2]), x);
    const vf above = vf_fma(vf_mul(vf_set(p[0]), x), x, linear);
    const vf grown = vf_sub(vf_exp(vf_min(x, vf_set(p[3]))), vf_set(1.0f));
    const vf below = vf_fma(vf_sub(grown, x), vf_set(p[1]), linear);
    return vf_select(vf_lt(vf_zero(), x), above, below);
}

OX_INLINE vf K(activation)(const ox_activation kind, vf x, const float *p) {
    switch (kind) {
    case OX_SILU:
        return K(silu)(x);
    case OX_GELU:
        return K(gelu)(x);
    case OX_GELU_TANH:
        return K(gelu_tanh)(x);
    case OX_GELU_QUICK:
        return vf_div(x, vf_add(vf_set(1.0f), vf_exp(vf_mul(vf_set(-1.702f), x))));
    case OX_RELU:
        return vf_max(vf_zero(), x);
    case OX_RELU_SQUARED: {
        const vf positive = vf_max(vf_zero(), x);
        return vf_mul(positive, positive);
    }
    case OX_SIGMOID:
        return K(sigmoid)(x);
    case OX_TANH:
        return K(tanh)(x);
    case OX_SOFTPLUS:
        return K(softplus)(x);
    case OX_SOFT_CAP:
        return vf_mul(vf_set(p[0]), K(tanh)(vf_div(x, vf_set(p[0]))));
    case OX_CLAMP:
        return vf_min(vf_set(p[1]), vf_max(vf_set(p[0]), x));
    case OX_SWIGLU_CLAMPED: {
        const vf low = vf_min(vf_set(p[1]), x);
        return vf_div(low, vf_add(vf_set(1.0f), vf_exp(vf_mul(vf_set(-p[0]), low))));
    }
    case OX_XIELU:
        return K(xielu)(x, p);
    case OX_EXP:
        return vf_exp(x);
    default:
        return x;
    }
}

/* What the second factor of a gated activation becomes before it is multiplied. */
OX_INLINE vf K(gated_factor)(const ox_activation kind, vf up, const float *p) {
    if (kind == OX_SWIGLU_CLAMPED) {
        const vf bounded = vf_min(vf_set(p[1]), vf_max(vf_set(-p[1]), up));
        return vf_add(bounded, vf_set(1.0f));
    }
    return up;
}

OX_INLINE void K(activate_all)(const ox_activation kind, int32_t n, const float *x, const float *p, float *out) {
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        vf_store(out + i, K(activation)(kind, vf_load(x + i), p));
    }
    if (i < n) {
        vf_store_n(out + i, K(activation)(kind, vf_load_n(x + i, n - i), p), n - i);
    }
}

OX_INLINE void K(gate_all)(const ox_activation kind, int32_t n, const float *gate, const float *up, const float *p,
                           float *out) {
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const vf factor = K(gated_factor)(kind, vf_load(up + i), p);
        vf_store(out + i, vf_mul(K(activation)(kind, vf_load(gate + i), p), factor));
    }
    if (i < n) {
        const vf factor = K(gated_factor)(kind, vf_load_n(up + i, n - i), p);
        vf_store_n(out + i, vf_mul(K(activation)(kind, vf_load_n(gate + i, n - i), p), factor), n - i);
    }
}

/* The kind is a constant of each instance. */
#define OX_FOR_ACTIVATIONS(call)                                                                                  \
    switch (kind) {                                                                                               \
        OX_ACTIVATIONS(call)                                                                                      \
    default:                                                                                                      \
        break;                                                                                                    \
    }

static void K(activate)(ox_activation kind, int32_t n, const float *x, const float *p, float *out) {
#define OX_CALL(name, kind)                \
    case kind:                             \
        K(activate_all)(kind, n, x, p, out); \
        break;
    OX_FOR_ACTIVATIONS(OX_CALL)
#undef OX_CALL
}

static void K(gated)(ox_activation kind, int32_t n, const float *gate, const float *up, const float *p, float *out) {
#define OX_CALL(name, kind)                       \
    case kind:                                    \
        K(gate_all)(kind, n, gate, up, p, out);   \
        break;
    OX_FOR_ACTIVATIONS(OX_CALL)
#undef OX_CALL
}

#endif
