"""The cell protocol and the sleep of the consumer.

The cells with turn numbers are the idea of D. Vyukov's bounded MPMC queue (1024cores.net), here with one consumer.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free

from oxillama._core.atomics cimport (
    ox_exchange_seq_cst_i32,
    ox_fetch_add_acq_rel_i64,
    ox_fetch_add_seq_cst_i32,
    ox_load_acquire_i64,
    ox_load_seq_cst_i32,
    ox_load_seq_cst_i64,
    ox_store_relaxed_i64,
    ox_store_release_i64,
    ox_store_seq_cst_i32,
    ox_store_seq_cst_i64,
)
from oxillama._core.parking cimport (
    ox_parking_destroy,
    ox_parking_init,
    ox_parking_lock,
    ox_parking_unlock,
    ox_parking_wait,
    ox_parking_wake_all,
)
from oxillama._core.request cimport request_unref
from oxillama._core.scheduling.capacity cimport (
    capacity_destroy,
    capacity_give_back,
    capacity_init,
    capacity_take,
    capacity_wake_all,
)
from oxillama._core.status cimport OX_CLOSED, OX_INVALID, OX_OK, OX_QUEUE_FULL


cdef ox_ring *ring_create(int32_t queue_size) noexcept nogil:
    if queue_size < 1:
        return NULL
    # As many cells as queue_size, so that a request that was counted in always finds its cell empty.
    cdef int64_t n_cells = 2
    while n_cells < queue_size:
        n_cells *= 2
    cdef ox_ring *ring = <ox_ring *> calloc(1, sizeof(ox_ring))
    if ring == NULL:
        return NULL
    ring.cells = <ox_ring_cell *> calloc(n_cells, sizeof(ox_ring_cell))
    if ring.cells == NULL or ox_parking_init(&ring.parking) != 0:
        free(ring.cells)
        free(ring)
        return NULL
    if capacity_init(&ring.capacity, queue_size) != 0:
        ox_parking_destroy(&ring.parking)
        free(ring.cells)
        free(ring)
        return NULL
    ring.cell_mask = n_cells - 1
    ring.queue_size = queue_size
    cdef int64_t i
    for i in range(n_cells):
        ox_store_relaxed_i64(&ring.cells[i].turn, i)
    return ring


cdef void ring_destroy(ox_ring *ring) noexcept nogil:
    if ring == NULL:
        return
    cdef ox_request *request = ring_take(ring)
    while request != NULL:
        request_unref(request)
        request = ring_take(ring)
    capacity_destroy(&ring.capacity)
    ox_parking_destroy(&ring.parking)
    free(ring.cells)
    free(ring)


cdef void put(ox_ring *ring, ox_request *request) noexcept nogil:
    # The cell is empty: of the position + 1 requests counted in so far at most queue_size are not yet counted out,
    # which happens after their cell was emptied. acq_rel on both counters makes that emptying visible here.
    cdef int64_t position = ox_fetch_add_acq_rel_i64(&ring.tail, 1)
    cdef ox_ring_cell *cell = &ring.cells[position & ring.cell_mask]
    cell.request = request
    # seq_cst, as the load of `sleeping` that follows: of "cell filled, then sleeping?" here and "sleeping, then cell
    # filled?" in ring_sleep() at least one sees the other.
    ox_store_seq_cst_i64(&cell.turn, position + 1)


cdef void wake_sleeper(ox_ring *ring) noexcept nogil:
    if ox_load_seq_cst_i32(&ring.sleeping) != 0:
        ox_parking_lock(&ring.parking)
        ox_parking_wake_all(&ring.parking)
        ox_parking_unlock(&ring.parking)


cdef ox_status submit(ox_ring *ring, ox_request **requests, int32_t n, bint counted) noexcept nogil:
    if n < 1:
        return OX_INVALID
    cdef ox_status status = OX_OK
    cdef int32_t i
    # Before the look at `closed`: ring_is_quiet() then knows of everyone who saw the ring open.
    ox_fetch_add_seq_cst_i32(&ring.num_submitting, 1)
    if ox_load_seq_cst_i32(&ring.closed) != 0:
        status = OX_CLOSED
        if counted:
            capacity_give_back(&ring.capacity, n)
    elif not counted and not capacity_take(&ring.capacity, n):
        status = OX_QUEUE_FULL
    else:
        for i in range(n):
            put(ring, requests[i])
        wake_sleeper(ring)
    ox_fetch_add_seq_cst_i32(&ring.num_submitting, -1)
    return status


cdef ox_status ring_submit(ox_ring *ring, ox_request **requests, int32_t n) noexcept nogil:
    return submit(ring, requests, n, False)


cdef ox_status ring_submit_counted(ox_ring *ring, ox_request **requests, int32_t n) noexcept nogil:
    return submit(ring, requests, n, True)


cdef void ring_close(ox_ring *ring) noexcept nogil:
    ox_store_seq_cst_i32(&ring.closed, 1)
    ring_wake(ring)
    capacity_wake_all(&ring.capacity)


cdef void ring_wake(ox_ring *ring) noexcept nogil:
    ox_store_seq_cst_i32(&ring.poked, 1)
    wake_sleeper(ring)


cdef ox_request *ring_take(ox_ring *ring) noexcept nogil:
    cdef ox_ring_cell *cell = &ring.cells[ring.head & ring.cell_mask]
    if ox_load_acquire_i64(&cell.turn) != ring.head + 1:
        return NULL
    cdef ox_request *request = cell.request
    ox_store_release_i64(&cell.turn, ring.head + ring.cell_mask + 1)
    ring.head += 1
    return request


cdef void ring_left_queue(ox_ring *ring) noexcept nogil:
    capacity_give_back(&ring.capacity, 1)


cdef bint has_update(ox_ring *ring) noexcept nogil:
    cdef ox_ring_cell *cell = &ring.cells[ring.head & ring.cell_mask]
    return ox_load_seq_cst_i64(&cell.turn) == ring.head + 1 or ox_exchange_seq_cst_i32(&ring.poked, 0) != 0


cdef void ring_sleep(ox_ring *ring, int64_t timeout_ns) noexcept nogil:
    if has_update(ring):
        return
    # A waker takes the lock before it wakes, so it cannot come between the second look and the wait.
    ox_parking_lock(&ring.parking)
    ox_store_seq_cst_i32(&ring.sleeping, 1)
    if not has_update(ring):
        ox_parking_wait(&ring.parking, timeout_ns)
        ox_exchange_seq_cst_i32(&ring.poked, 0)
    ox_store_seq_cst_i32(&ring.sleeping, 0)
    ox_parking_unlock(&ring.parking)


cdef bint ring_is_quiet(ox_ring *ring) noexcept nogil:
    return ox_load_seq_cst_i32(&ring.num_submitting) == 0
