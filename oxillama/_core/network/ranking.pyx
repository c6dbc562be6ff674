"""Levels of requests and their order; the contract stands in the .pxd."""

from libc.stdint cimport INT32_MAX, INT32_MIN, int32_t, int64_t
from libc.string cimport memmove


cdef bint is_before(const ox_request *a, const ox_request *b) noexcept nogil:
    return a.sequence < b.sequence if a.level == b.level else a.level > b.level


cdef void sort(ox_request **requests, int32_t n) noexcept nogil:
    # Insertion: the order hardly changes from step to step.
    cdef int32_t i, j
    cdef ox_request *request
    for i in range(1, n):
        request = requests[i]
        j = i
        while j > 0 and is_before(request, requests[j - 1]):
            requests[j] = requests[j - 1]
            j -= 1
        requests[j] = request


cdef void rank(ox_request **requests, int32_t n, int64_t now_ns, int64_t aging_ns) noexcept nogil:
    cdef int32_t i
    cdef int64_t level
    cdef ox_request *request
    for i in range(n):
        request = requests[i]
        if not request.served:
            request.waited_ns += max(<int64_t> 0, now_ns - request.waiting_since_ns)
        request.waiting_since_ns = now_ns
        request.served = 0
        level = request.priority
        if aging_ns > 0:
            level += request.waited_ns // aging_ns
        request.level = <int32_t> max(<int64_t> INT32_MIN, min(level, <int64_t> INT32_MAX))
    sort(requests, n)


cdef void remove(ox_request **requests, int32_t *n, const ox_request *request) noexcept nogil:
    cdef int32_t i = 0
    while requests[i] != request:
        i += 1
    n[0] -= 1
    memmove(&requests[i], &requests[i + 1], (n[0] - i) * sizeof(ox_request *))
