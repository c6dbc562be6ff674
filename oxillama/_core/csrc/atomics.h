/* Typed C11 atomics as inline functions, because Cython can neither declare _Atomic nor call generic macros.
 * The memory order is part of every name. */
#ifndef OX_ATOMICS_H
#define OX_ATOMICS_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic int32_t ox_atomic_i32;
typedef _Atomic int64_t ox_atomic_i64;
typedef _Atomic(void *) ox_atomic_ptr;

#define OX_DEFINE_LOAD(T, S, ORDER) \
    static inline T ox_load_##ORDER##_##S(ox_atomic_##S *p) \
    { \
        return atomic_load_explicit(p, memory_order_##ORDER); \
    }
#define OX_DEFINE_STORE(T, S, ORDER) \
    static inline void ox_store_##ORDER##_##S(ox_atomic_##S *p, T value) \
    { \
        atomic_store_explicit(p, value, memory_order_##ORDER); \
    }
#define OX_DEFINE_EXCHANGE(T, S, ORDER) \
    static inline T ox_exchange_##ORDER##_##S(ox_atomic_##S *p, T value) \
    { \
        return atomic_exchange_explicit(p, value, memory_order_##ORDER); \
    }
#define OX_DEFINE_FETCH_ADD(T, S, ORDER) \
    static inline T ox_fetch_add_##ORDER##_##S(ox_atomic_##S *p, T value) \
    { \
        return atomic_fetch_add_explicit(p, value, memory_order_##ORDER); \
    }
/* Strong; on failure the current value is loaded (relaxed, or seq_cst) into *expected. Returns 1 or 0. */
#define OX_DEFINE_COMPARE_EXCHANGE(T, S, ORDER, FAILURE) \
    static inline int ox_compare_exchange_##ORDER##_##S(ox_atomic_##S *p, T *expected, T value) \
    { \
        return atomic_compare_exchange_strong_explicit(p, expected, value, memory_order_##ORDER, \
                                                       memory_order_##FAILURE); \
    }

#define OX_DEFINE_ATOMIC(T, S) \
    OX_DEFINE_LOAD(T, S, relaxed) \
    OX_DEFINE_LOAD(T, S, acquire) \
    OX_DEFINE_LOAD(T, S, seq_cst) \
    OX_DEFINE_STORE(T, S, relaxed) \
    OX_DEFINE_STORE(T, S, release) \
    OX_DEFINE_STORE(T, S, seq_cst) \
    OX_DEFINE_EXCHANGE(T, S, relaxed) \
    OX_DEFINE_EXCHANGE(T, S, acq_rel) \
    OX_DEFINE_EXCHANGE(T, S, seq_cst) \
    OX_DEFINE_COMPARE_EXCHANGE(T, S, relaxed, relaxed) \
    OX_DEFINE_COMPARE_EXCHANGE(T, S, acq_rel, relaxed) \
    OX_DEFINE_COMPARE_EXCHANGE(T, S, seq_cst, seq_cst)

#define OX_DEFINE_COUNTER(T, S) \
    OX_DEFINE_FETCH_ADD(T, S, relaxed) \
    OX_DEFINE_FETCH_ADD(T, S, acq_rel) \
    OX_DEFINE_FETCH_ADD(T, S, seq_cst)

OX_DEFINE_ATOMIC(int32_t, i32)
OX_DEFINE_ATOMIC(int64_t, i64)
OX_DEFINE_ATOMIC(void *, ptr)
OX_DEFINE_COUNTER(int32_t, i32)
OX_DEFINE_COUNTER(int64_t, i64)

#undef OX_DEFINE_LOAD
#undef OX_DEFINE_STORE
#undef OX_DEFINE_EXCHANGE
#undef OX_DEFINE_FETCH_ADD
#undef OX_DEFINE_COMPARE_EXCHANGE
#undef OX_DEFINE_ATOMIC
#undef OX_DEFINE_COUNTER

#endif
