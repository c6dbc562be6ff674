/* vec/int.h with NEON: four q registers; signed bytes, with the dot product of Armv8.2 where the level has it. */
#ifndef OX_VEC_INT_NEON_H
#define OX_VEC_INT_NEON_H

#define VEC_INT_1(type, f, x) (type){f((x).a), f((x).b), f((x).c), f((x).d)}
#define VEC_INT_2(type, f, x, y) (type){f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)}

typedef struct { int32x4_t a, b, c, d; } vi;
typedef struct { uint8x16_t a, b, c, d; } vb;
typedef struct { int8x16_t a; } vq;
typedef struct { int16x8_t a, b, c, d; } vw;
typedef vi va;

OX_INLINE vi vi_set(int32_t x) {
    const int32x4_t v = vdupq_n_s32(x);
    return (vi){v, v, v, v};
}
OX_INLINE vi vi_add(vi x, vi y) { return VEC_INT_2(vi, vaddq_s32, x, y); }
OX_INLINE vi vi_negate(vi v) { return VEC_INT_1(vi, vnegq_s32, v); }
OX_INLINE vi vi_shift_left(vi v, const int32_t n) {
    const int32x4_t by = vdupq_n_s32(n);
    return (vi){vshlq_s32(v.a, by), vshlq_s32(v.b, by), vshlq_s32(v.c, by), vshlq_s32(v.d, by)};
}
OX_INLINE vf vi_float(vi v) { return VEC_INT_1(vf, vcvtq_f32_s32, v); }

OX_INLINE vb vb_zero(void) {
    const uint8x16_t zero = vdupq_n_u8(0);
    return (vb){zero, zero, zero, zero};
}
OX_INLINE vb vb_load(const uint8_t *p) {
    return (vb){vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)};
}
OX_INLINE void vb_store(uint8_t *p, vb v) {
    vst1q_u8(p, v.a);
    vst1q_u8(p + 16, v.b);
    vst1q_u8(p + 32, v.c);
    vst1q_u8(p + 48, v.d);
}
OX_INLINE uint8x16_t vec_low(uint8x16_t v) { return vandq_u8(v, vdupq_n_u8(0x0f)); }
OX_INLINE uint8x16_t vec_high(uint8x16_t v) { return vshrq_n_u8(v, 4); }
OX_INLINE vb vb_low(vb v) { return VEC_INT_1(vb, vec_low, v); }
OX_INLINE vb vb_high(vb v) { return VEC_INT_1(vb, vec_high, v); }

/* A negative shift goes right. */
OX_INLINE uint8x16_t vec_merge(uint8x16_t v, uint8x16_t line, const int32_t left, const uint8_t mask) {
    return vorrq_u8(v, vandq_u8(vshlq_u8(line, vdupq_n_s8((int8_t)left)), vdupq_n_u8(mask)));
}
OX_INLINE vb vec_merge_line(vb v, vb line, const int32_t left, const uint8_t mask) {
    return (vb){vec_merge(v.a, line.a, left, mask), vec_merge(v.b, line.b, left, mask),
                vec_merge(v.c, line.c, left, mask), vec_merge(v.d, line.d, left, mask)};
}
OX_INLINE vb vb_fifth(vb v, vb line, const int32_t word) { return vec_merge_line(v, line, 4 - word, 0x10); }
OX_INLINE vb vb_dibit(vb v, vb line, const int32_t c) { return vec_merge_line(v, line, 4 - 2 * c, 0x30); }

OX_INLINE vb vb_third(vb v, vb line, const int32_t word) { return vec_merge_line(v, line, 2 - word, 0x04); }
OX_INLINE uint8x16_t vec_low_dibit(uint8x16_t line, const int32_t c) {
    return vandq_u8(vshlq_u8(line, vdupq_n_s8((int8_t)(-2 * c))), vdupq_n_u8(3));
}
OX_INLINE vb vb_low_dibit(vb line, const int32_t c) {
    return (vb){vec_low_dibit(line.a, c), vec_low_dibit(line.b, c), vec_low_dibit(line.c, c), vec_low_dibit(line.d, c)};
}
OX_INLINE vb vb_lookup(const void *table, vb v) {
    const uint8x16_t bytes = vld1q_u8(table);
    return (vb){vqtbl1q_u8(bytes, v.a), vqtbl1q_u8(bytes, v.b), vqtbl1q_u8(bytes, v.c), vqtbl1q_u8(bytes, v.d)};
}

OX_INLINE vq vq_load(const void *p) {
    int32_t word;
    memcpy(&word, p, sizeof word);
    return (vq){vreinterpretq_s8_s32(vdupq_n_s32(word))};
}
OX_INLINE int16x8_t vec_widen_u8(const uint8_t *p) { return vreinterpretq_s16_u16(vmovl_u8(vld1_u8(p))); }
OX_INLINE vw vw_load_u8(const uint8_t *p) {
    return (vw){vec_widen_u8(p), vec_widen_u8(p + 8), vec_widen_u8(p + 16), vec_widen_u8(p + 24)};
}
/* 16 bytes below 16 as int32 */
OX_INLINE vi vec_widen_nibbles(uint8x16_t nibbles) {
    const uint16x8_t low = vmovl_u8(vget_low_u8(nibbles));
    const uint16x8_t high = vmovl_u8(vget_high_u8(nibbles));
    return (vi){vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), vreinterpretq_s32_u32(vmovl_high_u16(low)),
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))), vreinterpretq_s32_u32(vmovl_high_u16(high))};
}
OX_INLINE vi vi_load_low_nibbles(const uint8_t *p) { return vec_widen_nibbles(vec_low(vld1q_u8(p))); }
OX_INLINE vw vw_load_high_nibbles(const uint8_t *p) {
    const vi wide = vec_widen_nibbles(vec_high(vld1q_u8(p)));
    return VEC_INT_1(vw, vreinterpretq_s16_s32, wide);
}
OX_INLINE int32x4_t vec_dot_words(int32x4_t sum, int16x8_t w, int16x8_t x) {
    const int32x4_t low = vmull_s16(vget_low_s16(w), vget_low_s16(x));
    return vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(w, x)));
}
OX_INLINE vi vi_dot_words(vi sum, vw w, vq x) {
    const int16x8_t words = vreinterpretq_s16_s8(x.a);
    return (vi){vec_dot_words(sum.a, w.a, words), vec_dot_words(sum.b, w.b, words), vec_dot_words(sum.c, w.c, words),
                vec_dot_words(sum.d, w.d, words)};
}

OX_INLINE va va_begin(const int32_t bits, const int32_t offset, const int32_t *neg_sum) {
    (void)bits;
    return offset == 0 ? vi_set(0) : vi_shift_left(vi_set(*neg_sum), __builtin_ctz((unsigned)offset));
}
OX_INLINE int32x4_t vec_dot_bytes(int32x4_t sum, uint8x16_t w, int8x16_t x) {
    const int8x16_t weights = vreinterpretq_s8_u8(w);  /* below 64, or signed */
#if defined(OX_HAS_NEON_DOT)
    /* clang declares vdotq_s32 only when the whole file is compiled for it */
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(weights), "w"(x));
    return sum;
#else
    const int16x8_t low = vmull_s8(vget_low_s8(weights), vget_low_s8(x));
    return vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(weights, x)));
#endif
}
OX_INLINE va va_dot(const int32_t bits, va sum, vb w, vq x) {
    (void)bits;
    return (va){vec_dot_bytes(sum.a, w.a, x.a), vec_dot_bytes(sum.b, w.b, x.a), vec_dot_bytes(sum.c, w.c, x.a),
                vec_dot_bytes(sum.d, w.d, x.a)};
}
OX_INLINE vi va_end(const int32_t bits, const int32_t offset, va sum, const int32_t *neg_sum) {
    (void)bits;
    (void)offset;
    (void)neg_sum;
    return sum;
}

#endif
