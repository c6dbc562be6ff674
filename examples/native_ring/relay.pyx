"""Another package's Cython module over oxillama's request ring: it submits and consumes without the GIL."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.request cimport ox_request, request_create, request_unref
from oxillama._core.ring cimport (
    ox_ring,
    ring_create,
    ring_destroy,
    ring_left_queue,
    ring_sleep,
    ring_submit,
    ring_take,
)
from oxillama._core.status cimport OX_OK, OX_QUEUE_FULL, ox_status

cdef extern from "<sched.h>" nogil:
    int sched_yield()


cdef class Relay:
    """A ring with room for `queue_size` requests: any thread may send, one thread receives."""

    cdef ox_ring *ring

    def __cinit__(self, int32_t queue_size):
        self.ring = ring_create(queue_size)
        if self.ring == NULL:
            raise ValueError(f"no ring for {queue_size} requests")

    def __dealloc__(self):
        ring_destroy(self.ring)

    def send(self, int32_t first_token, int32_t n):
        """Submits n requests, each with one token as its prompt. Returns how often the ring was full."""
        cdef int64_t num_full = 0
        cdef int32_t i, token
        cdef ox_request *request
        cdef ox_status status
        with nogil:
            for i in range(n):
                token = first_token + i
                request = request_create(&token, 1, 0)
                if request == NULL:
                    break
                status = ring_submit(self.ring, &request, 1)
                while status == OX_QUEUE_FULL:
                    num_full += 1
                    sched_yield()
                    status = ring_submit(self.ring, &request, 1)
                if status != OX_OK:
                    request_unref(request)  # a refused request is still ours
                    break
        return num_full

    def receive(self, int64_t n):
        """Takes n requests, sleeping while there are none. Returns the sum of their tokens."""
        cdef int64_t total = 0, taken = 0
        cdef ox_request *request
        with nogil:
            while taken < n:
                request = ring_take(self.ring)
                if request == NULL:
                    ring_sleep(self.ring, -1)
                    continue
                total += request.tokens[0]
                taken += 1
                request_unref(request)
                ring_left_queue(self.ring)
        return total
