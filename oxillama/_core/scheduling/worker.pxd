"""The worker: one native thread that owns all model state, takes requests from the ring, and advances them together."""

from libc.stdint cimport int32_t, int64_t

from oxillama._core.atomics cimport ox_atomic_i32, ox_atomic_i64, ox_atomic_ptr
from oxillama._core.sampling.candidates cimport ox_candidates
from oxillama._core.network.executor cimport ox_program, ox_run
from oxillama._core.scheduling.kv_blocks cimport ox_kv_pool
from oxillama._core.scheduling.kv_cache cimport ox_kv_arena
from oxillama._core.network.program cimport Program
from oxillama._core.ring cimport ox_ring
from oxillama._core.scheduling.capacity cimport ox_capacity
from oxillama._core.scheduling.mask_thread cimport ox_mask_thread
from oxillama._core.scheduling.draft_model cimport ox_draft_model
from oxillama._core.scheduling.plan cimport ox_plan
from oxillama._core.scheduling.row_costs cimport ox_row_costs
from oxillama._core.scheduling.snapshots cimport ox_snapshots
from oxillama._core.scheduling.turns cimport Turns
from oxillama._core.scheduling.scheduler cimport ox_scheduler, ox_scheduler_config, ox_step_result
from oxillama._core.scheduling.window_pool cimport ox_window_pool

# Written by the worker after each step, readable by any thread.
ctypedef struct ox_worker_stats:
    ox_atomic_i64 num_steps
    ox_atomic_i64 step_ns           # of the last step
    ox_atomic_i64 busy_ns           # in steps, since the start
    ox_atomic_i64 heartbeat_ns      # when the loop or a layer was last begun; 0 while it rests

ctypedef struct ox_worker:
    ox_ring *ring
    ox_capacity at_rest                 # always full: who waits in its line is woken when the worker has nothing to do
    ox_kv_pool *pool
    ox_snapshots *snapshots         # NULL without recurrent state, or without a prefix cache
    ox_window_pool *windows         # NULL where no store gives blocks back
    ox_scheduler *scheduler
    ox_program *program
    int32_t n_vocab
    int32_t n_threads
    int32_t *tokens                 # [max_tokens]
    int32_t *output_rows            # [max_tokens]
    ox_run *runs                    # [max_batch_size]
    ox_step_result *results         # [max_batch_size]
    int32_t *first_logits           # [max_batch_size]: the output rows of each item begin here
    int32_t *first_hidden           # [max_batch_size]: and those of its hidden states here
    ox_candidates **memories        # [n_threads]
    ox_draft_model *draft_model     # or NULL
    ox_kv_arena *arena              # of the program's cache
    ox_kv_arena *draft_arena        # of the draft model's, or NULL
    ox_row_costs costs              # of steps that only decode
    ox_plan *plan                   # of the step that is running
    ox_mask_thread masks            # not started where the model has no logits
    ox_atomic_i32 overlaps_masks    # 0: masks are computed after the forward pass; a result never tells
    ox_atomic_i32 is_running        # the thread has started and not yet left
    int64_t next_page_ns            # no page is made large before this while steps are run
    ox_atomic_ptr gone_sets         # sets of adapters whose cached blocks are to be freed: see gone_sets.pxd
    ox_atomic_ptr turns             # ox_turns *: with other engines, or NULL
    ox_worker_stats stats

cdef class Worker:
    cdef ox_worker c
    cdef ox_scheduler_config config
    # None once the thread has ended: weights and cache may be large, and a closed engine may live on. Read by running()
    # and written in a critical section, since an interpreter without a GIL may close while others look.
    cdef Program _program
    # Of the draft model, or None; nobody but close() reads it.
    cdef Program _draft
    # What the outputs of requests borrow while the thread may still write to them.
    cdef object _vocabulary
    # Sets of adapters that requests may have, until the owner lets go of them or the thread has ended.
    cdef set _adapters
    # What its steps take turns by, or None.
    cdef Turns _turns
    cdef unsigned long _thread
    cdef bint _started
    cdef bint _has_rest_line
    cdef int _pid

    cdef Program running(self)
