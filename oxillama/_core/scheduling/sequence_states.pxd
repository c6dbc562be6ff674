"""Recurrent states in a plan: what a sequence begins with, where snapshots are made, and which of them stay.

Nothing here does anything for a network without states, whose pool has no snapshots."""

from libc.stdint cimport int32_t

from oxillama._core.request cimport ox_request
from oxillama._core.scheduling.kv_blocks cimport ox_kv_pool
from oxillama._core.scheduling.plan cimport ox_plan, ox_plan_item

# The last boundary of blocks at which a prompt of so many tokens can be repeated: one of them is always computed.
cdef int32_t last_useful(int32_t n_tokens) noexcept nogil
# The first boundary of blocks behind position `first` where the request is to leave a snapshot before `end`, or -1.
# They are made at regular distances, where its prompt parts from what others had in common, at the last boundary that a
# repeated prompt can use, and at the last one of the output.
cdef int32_t state_next_boundary(const ox_kv_pool *pool, const ox_request *request, int32_t first,
                                 int32_t end) noexcept nogil
# The plan is complete: says of its items what they restore and where they leave snapshots.
cdef void states_plan(ox_kv_pool *pool, ox_plan *plan) noexcept nogil
# The plan of before is not applied, or has been.
cdef void states_forget_plan(ox_kv_pool *pool) noexcept nogil
# The item is committed and its blocks are registered: keeps its snapshots as far as what they stand for has happened.
cdef void states_commit(ox_kv_pool *pool, const ox_plan_item *item) noexcept nogil
# The next step of the request begins with this snapshot, or (-1) with what its slot holds.
cdef void state_restore(ox_kv_pool *pool, ox_request *request, int32_t snapshot) noexcept nogil
