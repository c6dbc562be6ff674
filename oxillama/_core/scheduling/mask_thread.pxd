"""The thread that computes a step's masks while the forward pass runs. One worker owns it; it sleeps in between."""

from libc.stdint cimport int32_t

from oxillama._core.parking cimport ox_parking
from oxillama._core.request cimport ox_request
from oxillama._core.scheduling.plan cimport ox_plan

ctypedef struct ox_mask_task:
    ox_request *request
    int32_t n_drafts

ctypedef struct ox_mask_thread:
    ox_parking parking           # guards all below
    unsigned long thread
    bint has_parking
    bint is_started
    bint quits
    int32_t n_vocab
    ox_mask_task *tasks          # [max_batch_size]
    int32_t n_tasks
    int32_t n_begun
    int32_t n_done

# Returns 0 or an errno value. masks: all zero before.
cdef int masks_start(ox_mask_thread *masks, int32_t n_vocab, int32_t max_batch_size) noexcept nogil
# Joins the thread and frees the memory, if it was started at all.
cdef void masks_stop(ox_mask_thread *masks) noexcept nogil
# The constraints of a plan begin to compute the masks that its draws will need. overlap: False: only masks_finish does
# any of it. What it reads of the requests stands still until then.
cdef void masks_begin(ox_mask_thread *masks, const ox_plan *plan, bint overlap) noexcept nogil
# Returns when all of them have, and helps.
cdef void masks_finish(ox_mask_thread *masks) noexcept nogil
