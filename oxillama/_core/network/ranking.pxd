"""The order of requests: by level, then by arrival. It is total, so whoever stands first always advances."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.request cimport ox_request

cdef void sort(ox_request **requests, int32_t n) noexcept nogil
# Counts as waiting the time without a share of a step, sets the levels, and sorts. aging_ns: of waiting that raise a
# level by one; 0: none does.
cdef void rank(ox_request **requests, int32_t n, int64_t now_ns, int64_t aging_ns) noexcept nogil
# Takes out a request that is among them.
cdef void remove(ox_request **requests, int32_t *n, const ox_request *request) noexcept nogil
