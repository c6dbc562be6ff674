/* What a sequence carries from token to token: causal convolutions and linear recurrences. Lanes are channels or
 * elements of a head's value; sums over taps and keys go up in order, one chain for each lane, whatever the division
 * of lanes. */
#ifndef OX_RECURRENCE_H
#define OX_RECURRENCE_H

static void K(convolve)(int32_t n, int32_t n_taps, const float *const *inputs, const float *weight,
                        size_t weight_stride, const float *bias, float *out) {
    for (int32_t i = 0; i < n; i += 16) {
        vf sum = bias ? vf_load_n(bias + i, n - i) : vf_zero();
        for (int32_t tap = 0; tap < n_taps; tap++) {
            const vf w = vf_load_n(weight + (size_t)tap * weight_stride + i, n - i);
            sum = vf_fma(w, vf_load_n(inputs[tap] + i, n - i), sum);
        }
        vf_store_n(out + i, sum, n - i);
    }
}

OX_INLINE vf K(load_lanes)(const float *p, const int32_t part) {
    return part ? vf_load_n(p, part) : vf_load(p);
}

OX_INLINE void K(store_lanes)(float *p, vf v, const int32_t part) {
    if (part) {
        vf_store_n(p, v, part);
    } else {
        vf_store(p, v);
    }
}

/* 16 * `width` lanes from `lane` on, of all tokens: what is read of the state stays in the first-level cache. part: the
 * lanes of a single vector that is not full, else 0. rule and width are constants of each instance. */
OX_INLINE void K(recur_lanes)(const ox_recurrence *r, const ox_rule rule, int32_t lane, const int32_t width,
                              const int32_t part) {
    for (int32_t t = 0; t < r->n_tokens; t++) {
        const float *q = r->q.data + (size_t)t * r->q.stride;
        const float *k = r->k.data + (size_t)t * r->k.stride;
        const float *v = r->v.data + (size_t)t * r->v.stride + lane;
        const float *decay = rule == OX_RULE_SCAN ? NULL : r->decay.data + (size_t)t * r->decay.stride;
        const float *step = r->step.data ? r->step.data + (size_t)t * r->step.stride : NULL;
        const float *a = rule == OX_RULE_PAIRED ? r->a.data + (size_t)t * r->a.stride : NULL;
        const float *b = rule == OX_RULE_PAIRED ? r->b.data + (size_t)t * r->b.stride : NULL;
        float *out = r->out + (size_t)t * r->out_stride + lane;
        const int32_t decay_step = r->decay_by_key ? 1 : 0;
        vf add[4], found[4], sum[4], rate[4];
        for (int32_t j = 0; j < width; j++) {
            add[j] = K(load_lanes)(v + 16 * j, part);
            sum[j] = found[j] = rate[j] = vf_zero();
        }
        if (rule == OX_RULE_DELTA || rule == OX_RULE_PAIRED) {
            for (int32_t i = 0; i < r->k_dim; i++) {
                const vf factor = vf_set(rule == OX_RULE_DELTA ? k[i] * decay[i * decay_step] : a[i]);
                const float *state = r->state + (size_t)i * r->state_stride + lane;
                for (int32_t j = 0; j < width; j++) {
                    found[j] = vf_fma(factor, K(load_lanes)(state + 16 * j, part), found[j]);
                }
            }
        }
        for (int32_t j = 0; j < width; j++) {
            if (rule == OX_RULE_DELTA) {
                add[j] = vf_mul(vf_set(step[0]), vf_sub(add[j], found[j]));
            } else if (rule == OX_RULE_SCAN) {
                rate[j] = K(load_lanes)(step + lane + 16 * j, part);
                add[j] = vf_mul(rate[j], add[j]);
            } else if (step) {
                add[j] = vf_mul(vf_set(step[0]), add[j]);
            }
        }
        float bonus = 0.0f;
        for (int32_t i = 0; i < r->k_dim; i++) {
            float *state = r->state + (size_t)i * r->state_stride + lane;
            const vf key = vf_set(k[i]);
            const vf query = vf_set(q[i]);
            if (rule == OX_RULE_BONUS) {
                bonus += q[i] * r->bonus[i] * k[i];
            }
            for (int32_t j = 0; j < width; j++) {
                vf s = K(load_lanes)(state + 16 * j, part);
                if (rule == OX_RULE_BONUS) {
                    sum[j] = vf_fma(query, s, sum[j]);
                }
                if (rule == OX_RULE_SCAN) {
                    const vf slope = K(load_lanes)(r->rates + (size_t)i * r->rate_stride + lane + 16 * j, part);
                    s = vf_mul(vf_exp(vf_mul(rate[j], slope)), s);
                } else {
                    s = vf_mul(vf_set(decay[i * decay_step]), s);
                }
                s = vf_fma(key, add[j], s);
                if (rule == OX_RULE_PAIRED) {
                    s = vf_fma(vf_set(b[i]), found[j], s);
                }
                if (rule != OX_RULE_BONUS) {
                    sum[j] = vf_fma(query, s, sum[j]);
                }
                K(store_lanes)(state + 16 * j, s, part);
            }
        }
        for (int32_t j = 0; j < width; j++) {
            if (rule == OX_RULE_BONUS) {
                sum[j] = vf_fma(vf_set(bonus), add[j], sum[j]);
            }
            K(store_lanes)(out + 16 * j, sum[j], part);
        }
    }
}

OX_INLINE void K(recur_by)(const ox_recurrence *r, const ox_rule rule) {
    int32_t lane = 0;
    for (; lane + 64 <= r->v_dim; lane += 64) {
        K(recur_lanes)(r, rule, lane, 4, 0);
    }
    for (; lane + 16 <= r->v_dim; lane += 16) {
        K(recur_lanes)(r, rule, lane, 1, 0);
    }
    if (lane < r->v_dim) {
        K(recur_lanes)(r, rule, lane, 1, r->v_dim - lane);
    }
}

static void K(recur)(const ox_recurrence *r) {
    switch (r->rule) {
    case OX_RULE_PLAIN:
        K(recur_by)(r, OX_RULE_PLAIN);
        break;
    case OX_RULE_DELTA:
        K(recur_by)(r, OX_RULE_DELTA);
        break;
    case OX_RULE_SCAN:
        K(recur_by)(r, OX_RULE_SCAN);
        break;
    case OX_RULE_BONUS:
        K(recur_by)(r, OX_RULE_BONUS);
        break;
    case OX_RULE_PAIRED:
        K(recur_by)(r, OX_RULE_PAIRED);
        break;
    }
}

#endif
