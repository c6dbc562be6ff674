"""The request: everything the worker knows about one sequence, in one allocation without Python objects.

Lives as long as somebody holds a reference (the Python handle one, ring and scheduler together one).
"""

from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t

from oxillama._core.atomics cimport ox_atomic_i32
from oxillama._core.constraint cimport ox_constraint
from oxillama._core.network.adapter cimport ox_adapter_set
from oxillama._core.scheduling.kv_blocks cimport ox_prefix_domain
from oxillama._core.scheduling.row_costs cimport ox_row_costs

cdef enum ox_request_kind:
    OX_REQUEST_GENERATE = 0
    OX_REQUEST_EMBED = 1      # wants hidden states of the prompt, generates nothing
    OX_REQUEST_EVALUATE = 2   # wants every logits row of the prompt, generates nothing

cdef enum ox_request_state:
    OX_STATE_NEW = 0          # created, or in the ring
    OX_STATE_WAITING = 1      # in the scheduler, never run
    OX_STATE_RUNNING = 2      # holds a batch slot and KV blocks
    OX_STATE_PREEMPTED = 3    # has run, lost its blocks, waits
    OX_STATE_FINISHED = 4

cdef enum ox_finish_reason:
    OX_FINISH_NONE = 0
    OX_FINISH_STOP = 1
    OX_FINISH_LENGTH = 2
    OX_FINISH_CANCELLED = 3
    OX_FINISH_DEADLINE = 4
    OX_FINISH_ERROR = 5
    OX_FINISH_CLOSED = 6

# ox_request.status of a request whose adapters were revoked.
cdef enum:
    OX_FAULT_ADAPTER = 200

ctypedef void (*ox_destroy)(void *object) noexcept nogil

cdef enum:
    OX_MAX_DRAFTS = 16            # of a request at a time

cdef struct ox_request
cdef struct ox_drafter

# Guesses how a sequence goes on. What it guesses is verified, so it may be wrong; it is asked between two steps, so it
# must be fast.
cdef struct ox_drafter:
    # Writes at most `most` tokens that may follow the known ones; returns how many. n_rows: that the step has so far;
    # more than OX_COSTED_ROWS when it has prompts.
    int32_t (*propose)(ox_drafter *drafter, const ox_request *request, ox_row_costs *costs, int32_t n_rows,
                       int32_t most, int32_t *drafts) noexcept nogil
    void (*destroy)(ox_drafter *drafter) noexcept nogil

# Written by the creator before submit, by the worker afterwards; the atomic fields by anyone.
# Times are ox_monotonic_ns(); 0 means "has not happened" or "none".
cdef struct ox_request:
    ox_atomic_i32 num_references
    ox_atomic_i32 cancelled       # set by anyone, read by the worker every step
    ox_atomic_i32 finish_reason   # stored with release after everything else of the request is final

    # set by the creator
    uint64_t id
    ox_request_kind kind
    int32_t priority              # larger is sooner
    int64_t arrival_ns
    int64_t deadline_ns
    int8_t cache_prompt           # look up and register prefix blocks
    int8_t scores_prompt          # wants each logits row of its prompt from first_scored on once
    int8_t whole                  # its prompt is computed in one step or not at all: each token attends all others
    int32_t second_start          # where the second of two texts begins, for networks that tell them apart
    ox_prefix_domain domain
    ox_adapter_set *adapters      # pinned until the end is published, or the request freed without one; NULL: none
    void *sampling                # destroyed with the request
    ox_destroy destroy_sampling
    void *output                  # destroyed with the request
    ox_destroy destroy_output
    ox_drafter *drafter           # destroyed with the request; NULL: no drafts
    ox_constraint *constraint     # destroyed with the request; NULL: any token may follow
    int32_t *tokens               # [n_prompt + max_output]: the prompt, the output, then drafts
    int32_t n_prompt
    int32_t max_output
    int32_t first_hidden          # positions [first_hidden, end_hidden) of the prompt: their hidden states are wanted
    int32_t end_hidden
    int32_t first_scored          # position; with scores_prompt, what stands before it may come from the cache

    # written by the worker
    ox_request_state state
    int32_t n_output
    int32_t n_drafts              # tokens behind the output that are guesses
    int32_t num_accepted_drafts   # of those that were verified
    int32_t num_rejected_drafts
    int32_t num_computed_tokens   # tokens whose K and V are in the cache
    int32_t num_cached_tokens     # prompt tokens taken from the prefix cache when it first ran
    int32_t num_preemptions
    int32_t slot                  # batch slot while running (0 .. max_batch_size - 1), else -1
    int32_t *blocks               # [max_blocks]: block of positions [32 i, 32 i + 32)
    int32_t n_blocks
    int32_t max_blocks
    int32_t *window_blocks        # [max_blocks]: where windowed stores have them, from n_left on; see table_windows()
    int32_t n_left                # blocks at the beginning that windowed stores have given back
    int32_t restored              # snapshot of the state that its next step begins with, or -1: what its slot holds
    int32_t parting               # as far as the beginning was cached when it was looked for, with a state or without
    int32_t rolling_block         # of the output's last snapshot, which the next one replaces, or -1
    int32_t stop_detail           # meaning belongs to the output stage
    int32_t status                # ox_status, or the output stage's own code, of OX_FINISH_ERROR
    int64_t start_ns              # first scheduled
    int64_t prefill_end_ns
    int64_t first_token_ns
    int64_t end_ns

    # the scheduler's own
    uint64_t sequence             # order of arrival
    int8_t uses_prefix            # cache_prompt, as far as cache and kind allow
    int64_t waiting_since_ns
    int64_t waited_ns             # time spent without a share of a step
    int32_t level                 # priority plus one per priority_aging waited
    int32_t served                # has a share of the present step
    int32_t num_shares            # steps it had a share of since it last began to run

# NULL when a count is negative, there is no prompt, or memory is short. The caller holds the one reference.
cdef ox_request *request_create(const int32_t *prompt, int32_t n_prompt, int32_t max_output) noexcept nogil
cdef ox_request *request_ref(ox_request *request) noexcept nogil
# Frees the request, its sampling and its output with the last reference. NULL is allowed.
cdef void request_unref(ox_request *request) noexcept nogil
cdef void request_cancel(ox_request *request) noexcept nogil
cdef bint request_is_cancelled(ox_request *request) noexcept nogil
# The worker, last of all: makes everything it wrote readable by whoever sees the reason.
cdef void request_publish_finish(ox_request *request, ox_finish_reason reason) noexcept nogil
# OX_FINISH_NONE while the request lives; after another value everything the worker wrote may be read.
cdef ox_finish_reason request_finish_reason(ox_request *request) noexcept nogil

# The one function that makes an output longer. True: the token had been drafted for its place, so what was computed
# behind that draft stands.
cdef bint request_append(ox_request *request, int32_t token) noexcept nogil

cdef int32_t num_known(const ox_request *request) noexcept nogil    # tokens of prompt and output
cdef int32_t num_pending(const ox_request *request) noexcept nogil  # of them not yet computed
# Computes the last token of an output.
cdef bint request_is_decoding(const ox_request *request) noexcept nogil
# Generates nothing: OX_REQUEST_EMBED and OX_REQUEST_EVALUATE.
cdef bint request_is_prompt_only(const ox_request *request) noexcept nogil
# Computes tokens whose logits are all wanted, from first_scored on: OX_REQUEST_EVALUATE, or scores_prompt before the
# first output.
cdef bint request_wants_rows(const ox_request *request) noexcept nogil
# OX_FINISH_CANCELLED or OX_FINISH_DEADLINE when the request is to be ended, else OX_FINISH_NONE.
cdef ox_finish_reason request_due_end(ox_request *request, int64_t now_ns) noexcept nogil
