"""The owner of a lowered network: its operations, buffers and scratch, and what they point into."""

from libc.stdint cimport int32_t

from oxillama._core.network.adapter_room cimport AdapterRooms
from oxillama._core.network.executor cimport ox_batch, ox_op, ox_program
from oxillama._core.scheduling.kv_cache cimport KVCache
from oxillama._core.memory cimport Pages
from oxillama._core.scheduling.profile cimport Profile
from oxillama._core.network.team cimport Team
from oxillama._core.network.weights cimport PackedMatrix

cdef class Program:
    cdef object __weakref__
    cdef ox_program c
    cdef Pages _arena
    cdef Pages _scratch
    cdef Pages _parts
    cdef Pages _states
    cdef Pages _kept_rows
    cdef list _kept
    cdef list _operations  # the rows of the table, one for each of c.ops
    cdef Profile _profile
    cdef readonly KVCache kv
    cdef readonly int32_t n_vocab
    cdef readonly Pages weights
    cdef readonly Team team
    cdef AdapterRooms _rooms
    cdef bint _sealed
    cdef int _capacity
    cdef int _seal_parts(self) except -1
    cdef void _count_work(self) noexcept
    cdef int _keep(self, PackedMatrix matrix) except -1
    cdef const float *_vector(self, const float[::1] values) except? NULL
    # One step; see execute(). The caller has checked the batch against max_tokens, max_outputs and n_vocab.
    cdef int run(self, ox_batch *batch) noexcept nogil
    # The logits of output row `i` of the last step that was done. [n_vocab]
    cdef const float *logits(self, int32_t i) noexcept nogil
