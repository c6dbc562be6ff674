"""Request and ring as Python objects, and native threads that submit, for tests. Not used by the engine."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free

from oxillama._core.atomics cimport ox_atomic_i64, ox_fetch_add_relaxed_i64, ox_load_relaxed_i32, ox_load_relaxed_i64
from oxillama._core.parking cimport ox_monotonic_ns
from oxillama._core.request cimport (
    ox_request,
    request_cancel,
    request_create,
    request_is_cancelled,
    request_ref,
    request_unref,
)
from oxillama._core.ring cimport (
    ox_ring,
    ring_close,
    ring_create,
    ring_destroy,
    ring_is_quiet,
    ring_left_queue,
    ring_sleep,
    ring_submit,
    ring_take,
    ring_wake,
)
from oxillama._core.status cimport OX_CLOSED, OX_OK, OX_QUEUE_FULL, ox_status

cdef extern from "pthread.h" nogil:
    ctypedef struct pthread_t:
        pass
    int pthread_create(pthread_t *thread, void *attributes, void *(*run)(void *) noexcept nogil,
                       void *argument) noexcept
    int pthread_join(pthread_t thread, void **result) noexcept

cdef extern from "sched.h" nogil:
    int sched_yield() noexcept

cdef ox_atomic_i64 num_outputs_destroyed
cdef ox_atomic_i64 num_samplings_destroyed


cdef void destroy_output(void *object) noexcept nogil:
    ox_fetch_add_relaxed_i64(&num_outputs_destroyed, 1)


cdef void destroy_sampling(void *object) noexcept nogil:
    ox_fetch_add_relaxed_i64(&num_samplings_destroyed, 1)


cdef ox_request *new_request(uint64_t request_id, int32_t n_prompt, int32_t max_output) noexcept nogil:
    cdef int32_t i
    cdef int32_t *prompt = <int32_t *> calloc(max(n_prompt, 1), sizeof(int32_t))
    if prompt == NULL:
        return NULL
    for i in range(n_prompt):
        prompt[i] = i
    cdef ox_request *request = request_create(prompt, n_prompt, max_output)
    free(prompt)
    if request != NULL:
        request.id = request_id
        request.destroy_output = destroy_output
        request.destroy_sampling = destroy_sampling
    return request


def num_destroyed():
    """(outputs, samplings) destroyed since the module was imported."""
    return ox_load_relaxed_i64(&num_outputs_destroyed), ox_load_relaxed_i64(&num_samplings_destroyed)


@cython.final
cdef class Request:
    cdef ox_request *request

    def __cinit__(self, uint64_t request_id, *, int32_t n_prompt=1, int32_t max_output=0):
        self.request = new_request(request_id, n_prompt, max_output)
        if self.request == NULL:
            raise ValueError(f"no request with {n_prompt} + {max_output} tokens")

    def __dealloc__(self):
        request_unref(self.request)

    def cancel(self):
        request_cancel(self.request)

    def fill(self):
        """Writes every token and table cell it may ever use; reads them back."""
        cdef int32_t i
        for i in range(self.request.max_output):
            self.request.tokens[self.request.n_prompt + i] = -i
        for i in range(self.request.max_blocks):
            self.request.blocks[i] = i
        tokens = [self.request.tokens[i] for i in range(self.request.n_prompt + self.request.max_output)]
        return tokens, [self.request.blocks[i] for i in range(self.request.max_blocks)]

    @property
    def num_references(self):
        return ox_load_relaxed_i32(&self.request.num_references)

    @property
    def cancelled(self):
        return bool(request_is_cancelled(self.request))


@cython.final
cdef class RequestRing:
    cdef ox_ring *ring

    def __cinit__(self, int32_t queue_size):
        self.ring = ring_create(queue_size)
        if self.ring == NULL:
            raise ValueError(f"no ring for {queue_size} requests")

    def __dealloc__(self):
        ring_destroy(self.ring)

    def submit(self, list requests):
        """The ox_status; each request gives the ring one more reference when it is 0."""
        cdef ox_request **array = <ox_request **> calloc(max(len(requests), 1), sizeof(ox_request *))
        cdef Request request
        cdef int32_t i, n = len(requests)
        for i in range(n):
            request = requests[i]
            array[i] = request_ref(request.request)
        cdef ox_status status
        with nogil:
            status = ring_submit(self.ring, array, n)
        for i in range(n):
            if status != OX_OK:
                request_unref(array[i])
        free(array)
        return <int> status

    def take(self):
        """The id of the oldest request, whose reference is given up; None when there is none."""
        cdef ox_request *request = ring_take(self.ring)
        if request == NULL:
            return None
        request_id = request.id
        request_unref(request)
        return request_id

    def left_queue(self):
        ring_left_queue(self.ring)

    def sleep(self, int64_t timeout_ns):
        """Nanoseconds slept."""
        cdef int64_t begin = ox_monotonic_ns()
        with nogil:
            ring_sleep(self.ring, timeout_ns)
        return ox_monotonic_ns() - begin

    def wake(self):
        ring_wake(self.ring)

    def close(self):
        ring_close(self.ring)

    @property
    def is_quiet(self):
        return bool(ring_is_quiet(self.ring))

    @property
    def num_queued(self):
        return ox_load_relaxed_i32(&self.ring.capacity.num_taken)

    @property
    def closed(self):
        return ox_load_relaxed_i32(&self.ring.closed) != 0


cdef struct producer:
    pthread_t thread
    ox_ring *ring
    int64_t number
    int64_t n_requests    # to submit; negative: until the ring is closed
    int32_t group
    int64_t num_accepted
    int64_t num_full


cdef void *produce(void *argument) noexcept nogil:
    cdef producer *p = <producer *> argument
    cdef ox_request *requests[8]
    cdef ox_status status
    cdef int32_t i, n
    while p.n_requests < 0 or p.num_accepted < p.n_requests:
        n = p.group if p.n_requests < 0 else <int32_t> min(<int64_t> p.group, p.n_requests - p.num_accepted)
        for i in range(n):
            requests[i] = new_request(<uint64_t> ((p.number << 32) | (p.num_accepted + i)), 1, 0)
            if i % 3 == 2:
                request_cancel(requests[i])
        status = ring_submit(p.ring, requests, n)
        while status == OX_QUEUE_FULL:
            p.num_full += 1
            sched_yield()
            status = ring_submit(p.ring, requests, n)
        if status == OX_CLOSED:
            for i in range(n):
                request_unref(requests[i])
            return NULL
        p.num_accepted += n
    return NULL


def stress(RequestRing ring, int32_t n_producers, int64_t n_requests, *, int32_t group=1, int64_t close_after=-1):
    """Native threads submit n_requests each while the caller consumes, all without the GIL.

    Returns a dict: taken, accepted, full, out_of_order (requests of one thread that overtook each other),
    most_queued, and slow_sleeps (sleeps that ran into their time-out of 2 s although requests were to come).
    """
    if not 1 <= group <= 8:
        raise ValueError("group must be 1 to 8")
    cdef producer *producers = <producer *> calloc(n_producers, sizeof(producer))
    cdef int64_t *next_number = <int64_t *> calloc(n_producers, sizeof(int64_t))
    cdef int64_t taken = 0, out_of_order = 0, slow_sleeps = 0, expected = n_requests * n_producers
    cdef int64_t most_queued = 0, begin, accepted = 0, full = 0
    cdef uint64_t thread
    cdef ox_request *request
    cdef int64_t timeout = 2 * <int64_t> 1000000000
    cdef int32_t i
    with nogil:
        for i in range(n_producers):
            producers[i].ring = ring.ring
            producers[i].number = i
            producers[i].n_requests = -1 if close_after >= 0 else n_requests
            producers[i].group = group
            pthread_create(&producers[i].thread, NULL, produce, &producers[i])
        while True:
            if close_after >= 0 and taken >= close_after and not ox_load_relaxed_i32(&ring.ring.closed):
                ring_close(ring.ring)
            most_queued = max(most_queued, <int64_t> ox_load_relaxed_i32(&ring.ring.capacity.num_taken))
            request = ring_take(ring.ring)
            if request == NULL:
                if close_after < 0 and taken == expected:
                    break
                if ox_load_relaxed_i32(&ring.ring.closed):
                    if not ring_is_quiet(ring.ring):
                        sched_yield()
                        continue
                    request = ring_take(ring.ring)
                    if request == NULL:
                        break
                else:
                    begin = ox_monotonic_ns()
                    ring_sleep(ring.ring, timeout)
                    if ox_monotonic_ns() - begin >= timeout:
                        slow_sleeps += 1
                    continue
            thread = request.id >> 32
            if <int64_t> (request.id - (thread << 32)) != next_number[thread]:
                out_of_order += 1
            next_number[thread] += 1
            taken += 1
            request_unref(request)
            ring_left_queue(ring.ring)
        for i in range(n_producers):
            pthread_join(producers[i].thread, NULL)
            accepted += producers[i].num_accepted
            full += producers[i].num_full
    free(producers)
    free(next_number)
    return {
        "taken": taken,
        "accepted": accepted,
        "full": full,
        "out_of_order": out_of_order,
        "most_queued": most_queued,
        "slow_sleeps": slow_sleeps,
    }
