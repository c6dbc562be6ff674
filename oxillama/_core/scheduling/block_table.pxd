"""A request's block table: following the prefix index, adding to it, giving the blocks back; and which of its blocks
windowed stores still have."""

from libc.stdint cimport int32_t

from oxillama._core.scheduling.kv_blocks cimport ox_kv_pool
from oxillama._core.request cimport ox_request

cdef int32_t blocks_for(int32_t n_tokens) noexcept nogil

# How many cached blocks continue what is computed, with a snapshot behind the last of them where there are states, and
# all that later tokens see where stores have windows. They stand behind the table, not yet taken. At least one token is
# always left to compute; 0 when the request does not use the index.
cdef int32_t table_match(const ox_kv_pool *pool, ox_request *request) noexcept nogil
# Takes the first n_matched of them: their tokens are computed now.
cdef void table_attach(ox_kv_pool *pool, ox_request *request, int32_t n_matched) noexcept nogil
# One block more, to be written. False: there is none.
cdef bint table_extend(ox_kv_pool *pool, ox_request *request) noexcept nogil
# Blocks that table_extend() can still give to somebody.
cdef int32_t table_num_available(const ox_kv_pool *pool) noexcept nogil
# Most blocks of windowed stores that the request holds between two steps, once all its tokens are computed.
cdef int32_t table_window_need(const ox_kv_pool *pool, const ox_request *request) noexcept nogil
# Windowed stores give back the blocks that no token behind the computed ones sees.
cdef void table_leave(ox_kv_pool *pool, ox_request *request) noexcept nogil
# Where windowed stores have the request's blocks, for the step that is to run.
cdef const int32_t *table_windows(const ox_kv_pool *pool, ox_request *request) noexcept nogil
# Registers the complete blocks from number `first` on; may exchange them for equal ones.
cdef void table_register(ox_kv_pool *pool, ox_request *request, int32_t first) noexcept nogil
cdef void table_release(ox_kv_pool *pool, ox_request *request) noexcept nogil
# Does `leader`, of this step, compute what `follower` can go on from? Its next block, or all up to its next snapshot.
cdef bint table_leads(const ox_kv_pool *pool, const ox_request *leader, const ox_request *follower) noexcept nogil
