"""The scheduler: which requests advance by how many tokens in the next step. Three verbs: add, schedule, apply.

Has no notion of prefill or decode: every request has tokens to compute. One thread uses a scheduler at a time; nothing
here touches a model, memory of the KV cache, or Python.
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t

from oxillama._core.atomics cimport ox_atomic_i64
from oxillama._core.scheduling.kv_blocks cimport ox_kv_pool
from oxillama._core.scheduling.pace cimport ox_pace
from oxillama._core.scheduling.plan cimport ox_plan
from oxillama._core.request cimport ox_finish_reason, ox_request
from oxillama._core.status cimport ox_status

# What the output stage made of an item, in the order of the plan.
ctypedef struct ox_step_result:
    int32_t n_tokens         # that were appended to the output, at most the item's n_draws
    int32_t finish_reason    # ox_finish_reason: not NONE ends the request after them

ctypedef struct ox_scheduler_config:
    int32_t max_batch_size   # running sequences
    int32_t max_batch_tokens
    int32_t max_outputs      # rows of logits of a step: one of each sequence, the rest shared by those that want more
    int32_t max_drafts       # of an item; 0 where a network's state cannot go back
    int64_t max_step_ns
    int64_t priority_aging_ns  # 0: waiting does not raise the priority
    int32_t n_ctx
    int8_t prefix_cache

# Called exactly once per added request, when its blocks are free again, before the scheduler gives up its reference.
# May still add to the request's output; must end with request_publish_finish().
ctypedef void (*ox_on_finish)(void *context, ox_request *request, ox_finish_reason reason) noexcept nogil
# Called once per added request when it first runs, or finishes without having run.
ctypedef void (*ox_on_start)(void *context, ox_request *request) noexcept nogil

# Written by the worker, readable by any thread with relaxed loads.
ctypedef struct ox_scheduler_stats:
    ox_atomic_i64 num_running
    ox_atomic_i64 num_waiting
    ox_atomic_i64 num_finished
    ox_atomic_i64 num_preemptions
    ox_atomic_i64 num_steps
    ox_atomic_i64 num_prompt_tokens     # computed, recomputation included
    ox_atomic_i64 num_cached_tokens     # not computed thanks to the prefix cache
    ox_atomic_i64 num_output_tokens
    ox_atomic_i64 num_accepted_drafts   # of these, tokens that had been drafted
    ox_atomic_i64 num_rejected_drafts   # computed in vain
    ox_atomic_i64 num_added
    ox_atomic_i64 num_started           # requests that began to run
    ox_atomic_i64 queue_ns              # from arrival to their first step, summed over these
    ox_atomic_i64 num_first_tokens      # requests that wrote a token
    ox_atomic_i64 ttft_ns               # from arrival to it, summed over these
    ox_atomic_i64 num_blocks_free
    ox_atomic_i64 num_blocks_cached
    ox_atomic_i64 num_blocks_referenced
    ox_atomic_i64 num_snapshots         # recurrent states that are kept
    ox_atomic_i64 num_window_blocks_cached  # blocks of windowed stores that nobody reads, and those that are read
    ox_atomic_i64 num_window_blocks_read

ctypedef struct ox_scheduler:
    ox_scheduler_config config
    ox_kv_pool *pool                    # the owner's
    ox_pace pace
    ox_request **running                # [max_batch_size], best first: by level, then by arrival
    int32_t n_running
    ox_request **prompts                # [max_batch_size], scratch of plan_prompts()
    ox_request **waiting                # as running; room for n_running more, so that preemption cannot fail
    int32_t n_waiting
    int32_t max_waiting
    int32_t *free_slots                 # [max_batch_size]
    int32_t n_free_slots
    uint64_t num_added
    uint64_t num_planned                # plans with prompts
    ox_plan plan
    ox_on_start on_start
    void *start_context
    ox_on_finish on_finish
    void *finish_context
    ox_scheduler_stats stats

# OX_OK, OX_INVALID or OX_NO_MEMORY. The pool must outlive the scheduler.
cdef ox_status scheduler_create(ox_scheduler **out, const ox_scheduler_config *config, ox_kv_pool *pool) noexcept nogil
# Ends what is left with OX_FINISH_CLOSED, as scheduler_finish_all() does.
cdef void scheduler_destroy(ox_scheduler *s) noexcept nogil

# Takes over the caller's reference, unless the answer is not OX_OK: OX_TOO_LONG or OX_NO_MEMORY.
cdef ox_status scheduler_add(ox_scheduler *s, ox_request *request, int64_t now_ns) noexcept nogil
# May this request ever run? OX_OK, OX_TOO_LONG or OX_INVALID. Pure: also for submitters, from any thread.
cdef ox_status scheduler_check(const ox_scheduler_config *config, int32_t n_blocks,
                               const ox_request *request) noexcept nogil
# Ends cancelled and overdue requests, then plans a step. Never empty while a request lives. A former plan that was not
# applied is abandoned: its tokens will be computed again.
cdef ox_plan *scheduler_schedule(ox_scheduler *s, int64_t now_ns) noexcept nogil
# Commits the current plan, whose tokens have been appended; results: [plan.n_items].
cdef void scheduler_apply(ox_scheduler *s, const ox_step_result *results, int64_t now_ns) noexcept nogil

# How long the applied step took.
cdef void scheduler_observe(ox_scheduler *s, int64_t step_ns, int32_t n_tokens, int32_t n_decode) noexcept nogil
# Ends every request, running or waiting.
cdef void scheduler_finish_all(ox_scheduler *s, ox_finish_reason reason, int64_t now_ns) noexcept nogil
# Requests that have not ended: a drain is over when it is 0.
cdef int32_t scheduler_num_alive(const ox_scheduler *s) noexcept nogil
