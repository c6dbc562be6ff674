"""Typed C11 atomics; the memory order is part of every name. An atomic field is never read or assigned directly."""
from libc.stdint cimport int32_t, int64_t

cdef extern from "atomics.h" nogil:
    ctypedef int32_t ox_atomic_i32
    ctypedef int64_t ox_atomic_i64
    ctypedef void *ox_atomic_ptr

    int32_t ox_load_relaxed_i32(ox_atomic_i32 *p) noexcept
    int32_t ox_load_acquire_i32(ox_atomic_i32 *p) noexcept
    int32_t ox_load_seq_cst_i32(ox_atomic_i32 *p) noexcept
    void ox_store_relaxed_i32(ox_atomic_i32 *p, int32_t value) noexcept
    void ox_store_release_i32(ox_atomic_i32 *p, int32_t value) noexcept
    void ox_store_seq_cst_i32(ox_atomic_i32 *p, int32_t value) noexcept
    int32_t ox_exchange_relaxed_i32(ox_atomic_i32 *p, int32_t value) noexcept
    int32_t ox_exchange_acq_rel_i32(ox_atomic_i32 *p, int32_t value) noexcept
    int32_t ox_exchange_seq_cst_i32(ox_atomic_i32 *p, int32_t value) noexcept
    int32_t ox_fetch_add_relaxed_i32(ox_atomic_i32 *p, int32_t value) noexcept
    int32_t ox_fetch_add_acq_rel_i32(ox_atomic_i32 *p, int32_t value) noexcept
    int32_t ox_fetch_add_seq_cst_i32(ox_atomic_i32 *p, int32_t value) noexcept
    # Strong; returns 1 on success, else 0 with the current value in *expected.
    bint ox_compare_exchange_relaxed_i32(ox_atomic_i32 *p, int32_t *expected, int32_t value) noexcept
    bint ox_compare_exchange_acq_rel_i32(ox_atomic_i32 *p, int32_t *expected, int32_t value) noexcept
    bint ox_compare_exchange_seq_cst_i32(ox_atomic_i32 *p, int32_t *expected, int32_t value) noexcept

    int64_t ox_load_relaxed_i64(ox_atomic_i64 *p) noexcept
    int64_t ox_load_acquire_i64(ox_atomic_i64 *p) noexcept
    int64_t ox_load_seq_cst_i64(ox_atomic_i64 *p) noexcept
    void ox_store_relaxed_i64(ox_atomic_i64 *p, int64_t value) noexcept
    void ox_store_release_i64(ox_atomic_i64 *p, int64_t value) noexcept
    void ox_store_seq_cst_i64(ox_atomic_i64 *p, int64_t value) noexcept
    int64_t ox_exchange_relaxed_i64(ox_atomic_i64 *p, int64_t value) noexcept
    int64_t ox_exchange_acq_rel_i64(ox_atomic_i64 *p, int64_t value) noexcept
    int64_t ox_exchange_seq_cst_i64(ox_atomic_i64 *p, int64_t value) noexcept
    int64_t ox_fetch_add_relaxed_i64(ox_atomic_i64 *p, int64_t value) noexcept
    int64_t ox_fetch_add_acq_rel_i64(ox_atomic_i64 *p, int64_t value) noexcept
    int64_t ox_fetch_add_seq_cst_i64(ox_atomic_i64 *p, int64_t value) noexcept
    # Strong; returns 1 on success, else 0 with the current value in *expected.
    bint ox_compare_exchange_relaxed_i64(ox_atomic_i64 *p, int64_t *expected, int64_t value) noexcept
    bint ox_compare_exchange_acq_rel_i64(ox_atomic_i64 *p, int64_t *expected, int64_t value) noexcept
    bint ox_compare_exchange_seq_cst_i64(ox_atomic_i64 *p, int64_t *expected, int64_t value) noexcept

    void *ox_load_relaxed_ptr(ox_atomic_ptr *p) noexcept
    void *ox_load_acquire_ptr(ox_atomic_ptr *p) noexcept
    void *ox_load_seq_cst_ptr(ox_atomic_ptr *p) noexcept
    void ox_store_relaxed_ptr(ox_atomic_ptr *p, void *value) noexcept
    void ox_store_release_ptr(ox_atomic_ptr *p, void *value) noexcept
    void ox_store_seq_cst_ptr(ox_atomic_ptr *p, void *value) noexcept
    void *ox_exchange_relaxed_ptr(ox_atomic_ptr *p, void *value) noexcept
    void *ox_exchange_acq_rel_ptr(ox_atomic_ptr *p, void *value) noexcept
    void *ox_exchange_seq_cst_ptr(ox_atomic_ptr *p, void *value) noexcept
    # Strong; returns 1 on success, else 0 with the current value in *expected.
    bint ox_compare_exchange_relaxed_ptr(ox_atomic_ptr *p, void **expected, void *value) noexcept
    bint ox_compare_exchange_acq_rel_ptr(ox_atomic_ptr *p, void **expected, void *value) noexcept
    bint ox_compare_exchange_seq_cst_ptr(ox_atomic_ptr *p, void **expected, void *value) noexcept
