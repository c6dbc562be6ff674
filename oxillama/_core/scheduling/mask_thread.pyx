"""The thread that computes the masks of a step while its forward pass runs; the contract stands in the .pxd."""

from libc.errno cimport ENOMEM
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free

from oxillama._core.constraint cimport OX_MAX_MASKS, constraint_prepare
from oxillama._core.network.executor cimport ox_default_fp_mode
from oxillama._core.parking cimport (
    ox_parking_destroy,
    ox_parking_init,
    ox_parking_lock,
    ox_parking_unlock,
    ox_parking_wait,
    ox_parking_wake_all,
)
from oxillama._core.request cimport OX_MAX_DRAFTS, num_known
from oxillama._core.sampling.parameters cimport ox_sampling

cdef extern from "worker_thread.h" nogil:
    int ox_thread_start(unsigned long *thread, void *(*main)(void *) noexcept nogil, void *argument, const char *name)
    int ox_thread_join(unsigned long thread)


assert OX_MAX_MASKS == OX_MAX_DRAFTS + 1


cdef int masks_start(ox_mask_thread *masks, int32_t n_vocab, int32_t max_batch_size) noexcept nogil:
    cdef int error = ox_parking_init(&masks.parking)
    if error != 0:
        return error
    masks.has_parking = True
    masks.n_vocab = n_vocab
    masks.tasks = <ox_mask_task *> calloc(max_batch_size, sizeof(ox_mask_task))
    if masks.tasks == NULL:
        return ENOMEM
    error = ox_thread_start(&masks.thread, masks_main, masks, "oxillama-masks")
    masks.is_started = error == 0
    return error


cdef void masks_stop(ox_mask_thread *masks) noexcept nogil:
    if masks.is_started:
        ox_parking_lock(&masks.parking)
        masks.quits = True
        ox_parking_wake_all(&masks.parking)
        ox_parking_unlock(&masks.parking)
        ox_thread_join(masks.thread)
        masks.is_started = False
    if masks.has_parking:
        ox_parking_destroy(&masks.parking)
        masks.has_parking = False
    free(masks.tasks)
    masks.tasks = NULL


cdef void masks_begin(ox_mask_thread *masks, const ox_plan *plan, bint overlap) noexcept nogil:
    cdef int32_t i, n = 0
    # Nobody reads the tasks now: all of the last step's are done.
    for i in range(plan.n_items):
        if plan.items[i].n_draws > 0 and plan.items[i].request.constraint != NULL:
            masks.tasks[n].request = plan.items[i].request
            masks.tasks[n].n_drafts = plan.items[i].n_draws - 1
            n += 1
    if n == 0:
        return
    ox_parking_lock(&masks.parking)
    masks.n_tasks = n
    masks.n_begun = masks.n_done = 0
    if overlap:
        ox_parking_wake_all(&masks.parking)
    ox_parking_unlock(&masks.parking)


cdef void masks_finish(ox_mask_thread *masks) noexcept nogil:
    if masks.n_tasks == 0:
        return
    ox_parking_lock(&masks.parking)
    take(masks)
    while masks.n_done < masks.n_tasks:
        ox_parking_wait(&masks.parking, -1)
    masks.n_tasks = masks.n_begun = masks.n_done = 0
    ox_parking_unlock(&masks.parking)


cdef void prepare(const ox_mask_task *task, int32_t n_vocab) noexcept nogil:
    cdef ox_request *request = task.request
    cdef const ox_sampling *sampling = <const ox_sampling *> request.sampling
    cdef const int32_t *drafts = request.tokens + num_known(request)
    cdef int32_t i, k, n = task.n_drafts
    # Nothing is drawn behind an end.
    for i in range(n):
        for k in range(sampling.n_ends):
            if drafts[i] == sampling.ends[k]:
                n = i
        if n == i:
            break
    constraint_prepare(request.constraint, n_vocab, request.n_output, drafts, n)


cdef void take(ox_mask_thread *masks) noexcept nogil:
    """With the lock held, but not while it computes: does what nobody has begun."""
    cdef ox_mask_task *task
    while masks.n_begun < masks.n_tasks:
        task = &masks.tasks[masks.n_begun]
        masks.n_begun += 1
        ox_parking_unlock(&masks.parking)
        prepare(task, masks.n_vocab)
        ox_parking_lock(&masks.parking)
        masks.n_done += 1
        if masks.n_done == masks.n_tasks:
            ox_parking_wake_all(&masks.parking)


cdef void *masks_main(void *argument) noexcept nogil:
    cdef ox_mask_thread *masks = <ox_mask_thread *> argument
    ox_default_fp_mode()
    ox_parking_lock(&masks.parking)
    while not masks.quits:
        take(masks)
        if masks.n_begun == masks.n_tasks and not masks.quits:
            ox_parking_wait(&masks.parking, -1)
    ox_parking_unlock(&masks.parking)
    return NULL
