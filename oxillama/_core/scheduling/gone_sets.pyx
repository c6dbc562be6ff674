"""A stack of sets of adapters that are gone; the contract stands in the .pxd."""

from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

from oxillama._core.atomics cimport (
    ox_compare_exchange_acq_rel_ptr,
    ox_exchange_acq_rel_ptr,
    ox_load_relaxed_ptr,
)
from oxillama._core.scheduling.kv_blocks cimport kv_pool_forget_set

cdef struct Gone:
    uint64_t id
    Gone *next


cdef void gone_push(ox_atomic_ptr *gone, uint64_t id) noexcept nogil:
    cdef Gone *entry = <Gone *>malloc(sizeof(Gone))
    if entry == NULL:
        return
    entry.id = id
    entry.next = <Gone *>ox_load_relaxed_ptr(gone)
    while not ox_compare_exchange_acq_rel_ptr(gone, <void **>&entry.next, entry):
        pass


cdef void gone_forget(ox_atomic_ptr *gone, ox_kv_pool *pool) noexcept nogil:
    cdef Gone *entry
    cdef Gone *following
    if ox_load_relaxed_ptr(gone) == NULL:
        return
    entry = <Gone *>ox_exchange_acq_rel_ptr(gone, NULL)
    while entry != NULL:
        if pool != NULL:
            kv_pool_forget_set(pool, entry.id)
        following = entry.next
        free(entry)
        entry = following


cdef void gone_free(ox_atomic_ptr *gone) noexcept nogil:
    gone_forget(gone, NULL)
