/* vec/vec.h for arm64 NEON (Armv8.0-A: FMA and half conversions are part of the base): four q registers. Included by
 * vec/vec.h only, which documents the operations. */
#ifndef OX_VEC_NEON_H
#define OX_VEC_NEON_H

typedef struct { float32x4_t a, b, c, d; } vf;
typedef struct { uint32x4_t a, b, c, d; } vm; /* a lane is all ones or all zeros */

#define VEC_1(type, f, x) (type){f((x).a), f((x).b), f((x).c), f((x).d)}
#define VEC_2(type, f, x, y) (type){f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)}

static inline vf vf_set(float x) {
    const float32x4_t v = vdupq_n_f32(x);
    return (vf){v, v, v, v};
}
static inline vf vf_zero(void) { return vf_set(0.0f); }
static inline vf vf_load(const float *p) {
    return (vf){vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)};
}
static inline void vf_store(float *p, vf v) {
    vst1q_f32(p, v.a);
    vst1q_f32(p + 4, v.b);
    vst1q_f32(p + 8, v.c);
    vst1q_f32(p + 12, v.d);
}

static inline uint32x4_t vec_first(int32_t n) {
    const int32_t lanes[4] = {0, 1, 2, 3};
    return vcgtq_s32(vdupq_n_s32(n), vld1q_s32(lanes));
}
static inline vm vm_first(int32_t n) {
    return (vm){vec_first(n), vec_first(n - 4), vec_first(n - 8), vec_first(n - 12)};
}
static inline vm vm_and(vm x, vm y) { return VEC_2(vm, vandq_u32, x, y); }
static inline vm vm_or(vm x, vm y) { return VEC_2(vm, vorrq_u32, x, y); }
static inline vm vm_andnot(vm x, vm y) { return VEC_2(vm, vbicq_u32, x, y); }
static inline int32_t vm_any(vm x) {
    return vmaxvq_u32(vorrq_u32(vorrq_u32(x.a, x.b), vorrq_u32(x.c, x.d))) != 0;
}
static inline vm vf_lt(vf x, vf y) { return VEC_2(vm, vcltq_f32, x, y); }
static inline uint32x4_t vec_isnan(float32x4_t x) { return vmvnq_u32(vceqq_f32(x, x)); }
static inline vm vf_isnan(vf x) { return VEC_1(vm, vec_isnan, x); }
static inline vf vf_select(vm m, vf yes, vf no) {
    return (vf){vbslq_f32(m.a, yes.a, no.a), vbslq_f32(m.b, yes.b, no.b), vbslq_f32(m.c, yes.c, no.c),
                vbslq_f32(m.d, yes.d, no.d)};
}

static inline vf vf_load_n(const float *p, int32_t n) {
    float lanes[16] = {0};
    memcpy(lanes, p, (size_t)(n < 0 ? 0 : n < 16 ? n : 16) * sizeof(float));
    return vf_load(lanes);
}
static inline void vf_store_n(float *p, vf v, int32_t n) {
    float lanes[16];
    vf_store(lanes, v);
    memcpy(p, lanes, (size_t)(n < 0 ? 0 : n < 16 ? n : 16) * sizeof(float));
}

static inline vf vf_add(vf x, vf y) { return VEC_2(vf, vaddq_f32, x, y); }
static inline vf vf_sub(vf x, vf y) { return VEC_2(vf, vsubq_f32, x, y); }
static inline vf vf_mul(vf x, vf y) { return VEC_2(vf, vmulq_f32, x, y); }
static inline vf vf_div(vf x, vf y) { return VEC_2(vf, vdivq_f32, x, y); }
static inline vf vf_fma(vf x, vf y, vf z) {
    return (vf){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
}
/* Written as compare and select so that a NaN behaves as on x86. */
static inline float32x4_t vec_max(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
static inline float32x4_t vec_min(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
static inline vf vf_max(vf x, vf y) { return VEC_2(vf, vec_max, x, y); }
static inline vf vf_min(vf x, vf y) { return VEC_2(vf, vec_min, x, y); }
static inline vf vf_neg(vf x) { return VEC_1(vf, vnegq_f32, x); }
static inline vf vf_round(vf x) { return VEC_1(vf, vrndnq_f32, x); }
static inline float32x4_t vec_add_exponent(float32x4_t x, float32x4_t n) {
    return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(x), vshlq_n_s32(vcvtnq_s32_f32(n), 23)));
}
static inline vf vf_add_exponent(vf x, vf n) { return VEC_2(vf, vec_add_exponent, x, n); }

static inline float32x4_t vec_load_f16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
static inline vf vf_load_f16(const uint16_t *p) {
    return (vf){vec_load_f16(p), vec_load_f16(p + 4), vec_load_f16(p + 8), vec_load_f16(p + 12)};
}
static inline void vec_store_f16(uint16_t *p, float32x4_t v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v))); }
static inline void vf_store_f16(uint16_t *p, vf v) {
    vec_store_f16(p, v.a);
    vec_store_f16(p + 4, v.b);
    vec_store_f16(p + 8, v.c);
    vec_store_f16(p + 12, v.d);
}
static inline float32x4_t vec_load_bf16(const uint16_t *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
static inline vf vf_load_bf16(const uint16_t *p) {
    return (vf){vec_load_bf16(p), vec_load_bf16(p + 4), vec_load_bf16(p + 8), vec_load_bf16(p + 12)};
}
static inline void vec_store_bf16(uint16_t *p, float32x4_t v) {
    const uint32x4_t bits = vreinterpretq_u32_f32(v);
    const uint32x4_t high = vshrq_n_u32(bits, 16);
    const uint32x4_t odd = vandq_u32(high, vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    const uint32x4_t quiet = vorrq_u32(high, vdupq_n_u32(0x40));
    vst1_u16(p, vmovn_u32(vbslq_u32(vec_isnan(v), quiet, vshrq_n_u32(rounded, 16))));
}
static inline void vf_store_bf16(uint16_t *p, vf v) {
    vec_store_bf16(p, v.a);
    vec_store_bf16(p + 4, v.b);
    vec_store_bf16(p + 8, v.c);
    vec_store_bf16(p + 12, v.d);
}
static inline vf vf_load_i8(const int8_t *p) {
    const int8x16_t bytes = vld1q_s8(p);
    const int16x8_t low = vmovl_s8(vget_low_s8(bytes));
    const int16x8_t high = vmovl_s8(vget_high_s8(bytes));
    return (vf){vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))};
}
static inline void vf_store_i8(int8_t *p, vf v) {
    const int16x8_t low = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(v.a)), vmovn_s32(vcvtnq_s32_f32(v.b)));
    const int16x8_t high = vcombine_s16(vmovn_s32(vcvtnq_s32_f32(v.c)), vmovn_s32(vcvtnq_s32_f32(v.d)));
    vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

static inline float vf_sum(vf v) {
    const float32x4_t four = vaddq_f32(vaddq_f32(v.a, v.c), vaddq_f32(v.b, v.d));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
static inline float vf_reduce_max(vf v) {
    const float32x4_t four = vec_max(vec_max(v.a, v.c), vec_max(v.b, v.d));
    const float a = vgetq_lane_f32(four, 0), b = vgetq_lane_f32(four, 1);
    const float c = vgetq_lane_f32(four, 2), d = vgetq_lane_f32(four, 3);
    const float low = a > c ? a : c, high = b > d ? b : d;
    return low > high ? low : high;
}

#undef VEC_1
#undef VEC_2

#endif
