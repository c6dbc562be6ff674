/* The scalar oracles of rows/activations.h: the definition of each function, in double. */
#ifndef OX_ACTIVATIONS_REFERENCE_H
#define OX_ACTIVATIONS_REFERENCE_H

static double K(activation)(ox_activation kind, double x, const float *p) {
    switch (kind) {
    case OX_SILU:
        return x / (1.0 + exp(-x));
    case OX_GELU:
        return 0.5 * x * erfc(-x * 0.70710678118654752);
    case OX_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case OX_GELU_QUICK:
        return x / (1.0 + exp(-1.702 * x));
    case OX_RELU:
        return x < 0.0 ? 0.0 : x;
    case OX_RELU_SQUARED:
        return x < 0.0 ? 0.0 : x * x;
    case OX_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case OX_TANH:
        return tanh(x);
    case OX_SOFTPLUS:
        return (x < 0.0 ? 0.0 : x) + log1p(exp(-fabs(x)));
    case OX_SOFT_CAP:
        return (double)p[0] * tanh(x / (double)p[0]);
    case OX_CLAMP:
        return x < (double)p[0] ? (double)p[0] : x > (double)p[1] ? (double)p[1] : x;
    case OX_SWIGLU_CLAMPED: {
        const double low = x > (double)p[1] ? (double)p[1] : x;
        return low / (1.0 + exp(-(double)p[0] * low));
    }
    case OX_XIELU:
        return x > 0.0 ? (double)p[0] * x * x + (double)p[2] * x
                       : (expm1(x > (double)p[3] ? (double)p[3] : x) - x) * (double)p[1] + (double)p[2] * x;
    case OX_EXP:
        return exp(x);
    default:
        return x;
    }
}

static void K(activate)(ox_activation kind, int32_t n, const float *x, const float *p, float *out) {
    for (int32_t i = 0; i < n; i++) {
        out[i] = (float)K(activation)(kind, (double)x[i], p);
    }
}

static void K(gated)(ox_activation kind, int32_t n, const float *gate, const float *up, const float *p, float *out) {
    for (int32_t i = 0; i < n; i++) {
        double factor = (double)up[i];
        if (kind == OX_SWIGLU_CLAMPED) {
            const double limit = (double)p[1];
            factor = (factor < -limit ? -limit : factor > limit ? limit : factor) + 1.0;
        }
        out[i] = (float)(K(activation)(kind, (double)gate[i], p) * factor);
    }
}

#endif
