/* The scalar oracles of rows/recurrence.h: the definition of each operation, summed in double. */
#ifndef OX_RECURRENCE_REFERENCE_H
#define OX_RECURRENCE_REFERENCE_H

static void K(convolve)(int32_t n, int32_t n_taps, const float *const *inputs, const float *weight,
                        size_t weight_stride, const float *bias, float *out) {
    for (int32_t i = 0; i < n; i++) {
        double sum = bias ? (double)bias[i] : 0.0;
        for (int32_t tap = 0; tap < n_taps; tap++) {
            sum += (double)weight[(size_t)tap * weight_stride + (size_t)i] * (double)inputs[tap][i];
        }
        out[i] = (float)sum;
    }
}

/* One lane of one token. */
static void K(recur_lane)(const ox_recurrence *r, int32_t t, int32_t lane) {
    const float *q = r->q.data + (size_t)t * r->q.stride;
    const float *k = r->k.data + (size_t)t * r->k.stride;
    const float *decay = r->decay.data ? r->decay.data + (size_t)t * r->decay.stride : NULL;
    const float *step = r->step.data ? r->step.data + (size_t)t * r->step.stride : NULL;
    const float *a = r->a.data ? r->a.data + (size_t)t * r->a.stride : NULL;
    const float *b = r->b.data ? r->b.data + (size_t)t * r->b.stride : NULL;
    const double v = (double)r->v.data[(size_t)t * r->v.stride + (size_t)lane];
    double add = v, found = 0.0, sum = 0.0, bonus = 0.0;
    for (int32_t i = 0; i < r->k_dim; i++) {
        const double state = (double)r->state[(size_t)i * r->state_stride + (size_t)lane];
        if (r->rule == OX_RULE_DELTA) {
            found += (double)k[i] * (double)decay[r->decay_by_key ? i : 0] * state;
        } else if (r->rule == OX_RULE_PAIRED) {
            found += (double)a[i] * state;
        }
    }
    if (r->rule == OX_RULE_DELTA) {
        add = (double)step[0] * (v - found);
    } else if (r->rule == OX_RULE_SCAN) {
        add = (double)step[lane] * v;
    } else if (step) {
        add = (double)step[0] * v;
    }
    for (int32_t i = 0; i < r->k_dim; i++) {
        float *place = r->state + (size_t)i * r->state_stride + (size_t)lane;
        const double old = (double)*place;
        double kept;
        if (r->rule == OX_RULE_SCAN) {
            kept = exp((double)step[lane] * (double)r->rates[(size_t)i * r->rate_stride + (size_t)lane]) * old;
        } else {
            kept = (double)decay[r->decay_by_key ? i : 0] * old;
        }
        kept += (double)k[i] * add;
        if (r->rule == OX_RULE_PAIRED) {
            kept += (double)b[i] * found;
        }
        *place = (float)kept;
        if (r->rule == OX_RULE_BONUS) {
            bonus += (double)q[i] * (double)r->bonus[i] * (double)k[i];
            sum += (double)q[i] * old;
        } else {
            sum += (double)q[i] * kept;
        }
    }
    r->out[(size_t)t * r->out_stride + (size_t)lane] = (float)(sum + bonus * add);
}

static void K(recur)(const ox_recurrence *r) {
    for (int32_t t = 0; t < r->n_tokens; t++) {
        for (int32_t lane = 0; lane < r->v_dim; lane++) {
            K(recur_lane)(r, t, lane);
        }
    }
}

#endif
