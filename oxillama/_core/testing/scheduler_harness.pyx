"""Block pool and scheduler as Python objects, so that tests can drive them without a model. Not used by the engine."""

from typing import NamedTuple

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc

from oxillama._core.atomics cimport ox_load_relaxed_i64
from oxillama._core.constraint cimport (
    Constraint,
    constraint_mask,
    constraint_prepare,
    constraint_settle,
    constraint_take,
    ox_constraint_status,
)
from oxillama._core.scheduling.kv_blocks cimport (
    OX_KV_BLOCK,
    kv_pool_create,
    kv_pool_destroy,
    kv_pool_find,
    kv_pool_forget,
    kv_pool_register,
    kv_pool_release,
    kv_pool_retain,
    kv_pool_take,
    ox_kv_pool,
    ox_prefix_domain,
)
from oxillama._core.scheduling.plan cimport ox_plan, plan_is_alive, plan_rollback
from oxillama._core.request cimport (
    OX_MAX_DRAFTS,
    OX_REQUEST_EMBED,
    OX_STATE_FINISHED,
    num_known,
    ox_finish_reason,
    ox_request,
    ox_request_kind,
    request_append,
    request_cancel,
    request_create,
    request_finish_reason,
    request_publish_finish,
    request_ref,
    request_unref,
)
from oxillama._core.scheduling.scheduler cimport (
    ox_scheduler,
    ox_scheduler_config,
    ox_step_result,
    scheduler_add,
    scheduler_apply,
    scheduler_create,
    scheduler_destroy,
    scheduler_finish_all,
    scheduler_num_alive,
    scheduler_observe,
    scheduler_schedule,
)
from oxillama._core.scheduling.block_table cimport table_windows
from oxillama._core.scheduling.snapshots cimport ox_snapshots, snapshots_create, snapshots_destroy
from oxillama._core.scheduling.window_pool cimport ox_window_pool, window_pool_create, window_pool_destroy
from oxillama._core.status cimport OX_OK

KV_BLOCK = OX_KV_BLOCK
MAX_DRAFTS = OX_MAX_DRAFTS


class PlanItem(NamedTuple):
    """The counts of an item, by the names in plan.pxd."""

    request: int
    first_position: int
    n_tokens: int
    n_logits: int
    n_draws: int
    first_hidden: int
    n_hidden: int
    restored: int
    marks: tuple[tuple[int, int], ...]  # (tokens of the item, snapshot)


cdef int32_t *int32_array(object values) except NULL:
    cdef Py_ssize_t i, n = len(values)
    cdef int32_t *array = <int32_t *> malloc(max(n, 1) * sizeof(int32_t))
    if array == NULL:
        raise MemoryError
    for i in range(n):
        array[i] = values[i]
    return array


cdef ox_prefix_domain domain_of(object domain) except *:
    cdef ox_prefix_domain d
    d.adapter_set, d.salt[0], d.salt[1] = domain
    return d


cdef list block_states(const ox_kv_pool *pool):
    states = []
    cdef int32_t i, j
    for i in range(pool.stats.n_blocks):
        b = &pool.blocks[i]
        states.append({
            "references": b.num_references,
            "indexed": bool(b.indexed),
            "parent": b.parent if b.indexed else -1,
            "parent_live": b.parent < 0 or pool.blocks[b.parent].generation == b.parent_generation,
            "domain": (b.domain.adapter_set, b.domain.salt[0], b.domain.salt[1]),
            "tokens": [pool.tokens[i * OX_KV_BLOCK + j] for j in range(OX_KV_BLOCK)] if b.indexed else [],
        })
    return states


cdef list linked(const ox_kv_pool *pool, int32_t head):
    blocks = []
    while head >= 0:
        blocks.append(head)
        head = pool.blocks[head].next
    return blocks


cdef void record_growth(void *context, int32_t n_blocks) noexcept nogil:
    with gil:
        (<BlockPool> context).grown.append(n_blocks)


@cython.final
cdef class BlockPool:
    cdef ox_kv_pool *pool
    cdef ox_snapshots *_snapshots
    cdef ox_window_pool *_windows
    cdef readonly list grown

    def __cinit__(self, int32_t n_blocks, *, uint64_t hash_mask=0xFFFFFFFFFFFFFFFF, int32_t n_kept=-1,
                  int32_t n_snapshots=0, int32_t snapshot_tokens=512, int32_t n_windows=0, int32_t window=1):
        self.pool = kv_pool_create(n_blocks, hash_mask)
        if self.pool == NULL:
            raise ValueError(f"no pool of {n_blocks} blocks")
        if n_kept >= 0:
            self.pool.num_kept = n_kept
        if n_snapshots > 0:
            self._snapshots = snapshots_create(n_snapshots, n_blocks, snapshot_tokens)
            if self._snapshots == NULL:
                raise MemoryError
            self.pool.snapshots = self._snapshots
        if n_windows > 0:
            self._windows = window_pool_create(n_windows, n_blocks, window)
            if self._windows == NULL:
                raise MemoryError
            self.pool.windows = self._windows
        self.pool.grow = record_growth
        self.pool.grow_context = <void *> self
        self.grown = []

    def __dealloc__(self):
        kv_pool_destroy(self.pool)
        snapshots_destroy(self._snapshots)
        window_pool_destroy(self._windows)

    def _checked(self, int32_t block, bint referenced):
        if not 0 <= block < self.pool.stats.n_blocks or (referenced and self.pool.blocks[block].num_references < 1):
            raise ValueError(f"block {block} is not in use")

    def take(self):
        return kv_pool_take(self.pool)

    def retain(self, int32_t block):
        self._checked(block, not self.pool.blocks[block].indexed)
        kv_pool_retain(self.pool, block)

    def release(self, int32_t block):
        self._checked(block, True)
        kv_pool_release(self.pool, block)

    def find(self, int32_t parent, tokens, domain=(0, 0, 0)):
        cdef ox_prefix_domain d = domain_of(domain)
        cdef int32_t *array = int32_array(tokens)
        try:
            return kv_pool_find(self.pool, parent, array, &d)
        finally:
            free(array)

    def register(self, int32_t block, int32_t parent, tokens, domain=(0, 0, 0)):
        self._checked(block, True)
        cdef ox_prefix_domain d = domain_of(domain)
        cdef int32_t *array = int32_array(tokens)
        try:
            return kv_pool_register(self.pool, block, parent, array, &d)
        finally:
            free(array)

    def forget(self):
        kv_pool_forget(self.pool)

    @property
    def stats(self):
        return self.pool.stats

    @property
    def blocks(self):
        return block_states(self.pool)

    @property
    def snapshots(self):
        """(block or -1, readers, whether it is reserved) of each."""
        cdef int32_t i
        s = self._snapshots
        return [(s.all[i].block, s.all[i].num_readers, bool(s.all[i].is_reserved))
                for i in range(0 if s == NULL else s.n)]

    @property
    def free_snapshots(self):
        cdef int32_t snapshot = -1 if self._snapshots == NULL else self._snapshots.free_head
        found = []
        while snapshot >= 0:
            found.append(snapshot)
            snapshot = self._snapshots.all[snapshot].next
        return found

    @property
    def windows(self):
        """(block or -1, readers) of each block of windowed stores."""
        cdef int32_t i
        w = self._windows
        return [(w.all[i].block, w.all[i].num_readers) for i in range(0 if w == NULL else w.n)]

    @property
    def window_lists(self):
        """Blocks of windowed stores: free, cached and cold, cached and warm; those that go first in front."""
        cdef int32_t i, place
        w = self._windows
        found = []
        for i in range(3):
            place = w.free_head if i == 0 else w.oldest[i - 1]
            found.append([])
            while place >= 0:
                found[i].append(place)
                place = w.all[place].next
        return found[0] + list(range(w.num_grown, w.n)), found[1], found[2]

    @property
    def window_counts(self):
        """(free, cached, read)"""
        return self._windows.num_free, self._windows.num_cached, self._windows.num_read

    @property
    def free(self):
        """Those that have grown, then those that have not."""
        return linked(self.pool, self.pool.free_head) + list(range(self.pool.stats.num_grown, self.pool.stats.n_blocks))

    @property
    def cached(self):
        return linked(self.pool, self.pool.oldest)


cdef void record_start(void *context, ox_request *request) noexcept nogil:
    with gil:
        (<Scheduler> context).started.append(request.id)


cdef void record_finish(void *context, ox_request *request, ox_finish_reason reason) noexcept nogil:
    with gil:
        (<Scheduler> context).finished.append((request.id, <int> reason, request.n_blocks))
    request_publish_finish(request, reason)


@cython.final
cdef class Scheduler:
    """Holds one reference to every request it was given, so that finished ones can still be looked at."""

    cdef ox_scheduler *scheduler
    cdef ox_plan *plan
    cdef BlockPool pool
    cdef dict pointers
    cdef readonly list started
    cdef readonly list finished

    def __cinit__(
        self, BlockPool pool, *, int32_t max_batch_size=8, int32_t max_batch_tokens=128,
        int64_t max_step_ns=100_000_000, int64_t priority_aging_ns=10_000_000_000, int32_t n_ctx=1024,
        bint prefix_cache=True, int32_t max_outputs=-1, int32_t max_drafts=OX_MAX_DRAFTS
    ):
        self.pool = pool
        self.pointers = {}
        self.started = []
        self.finished = []
        cdef ox_scheduler_config config
        config.max_batch_size = max_batch_size
        config.max_batch_tokens = max_batch_tokens
        config.max_outputs = max_outputs if max_outputs >= 0 else max_batch_size + max_batch_tokens
        config.max_drafts = max_drafts
        config.max_step_ns = max_step_ns
        config.priority_aging_ns = priority_aging_ns
        config.n_ctx = n_ctx
        config.prefix_cache = prefix_cache
        status = scheduler_create(&self.scheduler, &config, pool.pool)
        if status != OX_OK:
            raise ValueError(f"status {<int> status}")
        self.scheduler.on_start = record_start
        self.scheduler.start_context = <void *> self
        self.scheduler.on_finish = record_finish
        self.scheduler.finish_context = <void *> self

    def __dealloc__(self):
        if self.scheduler != NULL:
            self.scheduler.on_start = NULL
            self.scheduler.on_finish = NULL
            scheduler_destroy(self.scheduler)
        for pointer in self.pointers.values():
            request_unref(<ox_request *> <size_t> pointer)

    cdef ox_request *_request(self, object request_id) except NULL:
        return <ox_request *> <size_t> self.pointers[request_id]

    def add(
        self, prompt, *, int32_t max_output=16, int32_t kind=0, int32_t priority=0, int64_t deadline_ns=0,
        domain=(0, 0, 0), bint cache_prompt=True, bint scores_prompt=False, int32_t first_scored=0, hidden=None,
        int64_t now_ns=0, int64_t arrival_ns=0, Constraint constraint=None
    ):
        """Returns the request's id; ValueError when it is refused. hidden: (first, end), else all of an embedding's."""
        cdef ox_prefix_domain d = domain_of(domain)
        cdef int32_t *array = int32_array(prompt)
        cdef ox_request *request = request_create(array, len(prompt), max_output)
        free(array)
        if request == NULL:
            raise ValueError("no request")
        request.id = len(self.pointers)
        request.kind = <ox_request_kind> kind
        request.scores_prompt = scores_prompt
        request.first_scored = first_scored
        request.priority = priority
        request.deadline_ns = deadline_ns
        request.arrival_ns = arrival_ns
        request.domain = d
        request.cache_prompt = cache_prompt
        if constraint is not None:
            request.constraint = constraint.release()
        if kind == OX_REQUEST_EMBED:
            request.first_hidden, request.end_hidden = (0, len(prompt)) if hidden is None else hidden
        status = scheduler_add(self.scheduler, request_ref(request), now_ns)
        if status != OX_OK:
            request_unref(request)
            request_unref(request)
            raise ValueError(f"status {<int> status}")
        self.pointers[request.id] = <size_t> request
        return request.id

    def cancel(self, request_id):
        request_cancel(self._request(request_id))

    def draft(self, request_id, tokens):
        """What a drafter would write behind the known tokens, as far as there is room."""
        request = self._request(request_id)
        cdef int32_t i, n = min(len(tokens), min(OX_MAX_DRAFTS, max(0, request.max_output - request.n_output - 1)))
        for i in range(n):
            request.tokens[num_known(request) + i] = tokens[i]
        request.n_drafts = n

    def prepare_masks(self, request_id, int32_t n_vocab, int32_t n_drafts):
        """What the mask thread does while the forward pass runs."""
        request = self._request(request_id)
        constraint_prepare(request.constraint, n_vocab, request.n_output, request.tokens + num_known(request), n_drafts)

    def mask(self, request_id, int32_t n_vocab):
        """(status, ids that may be drawn next); None: there is no mask."""
        cdef ox_constraint_status status
        request = self._request(request_id)
        mask = constraint_mask(request.constraint, request.n_output, &status)
        ids = None if mask == NULL else [i for i in range(n_vocab) if (mask[i >> 5] >> (i & 31)) & 1]
        return <int> status, ids

    def take(self, request_id, int32_t token):
        """What the constraint says of a drawn token."""
        return <int> constraint_take(self._request(request_id).constraint, token)

    def settle(self, request_id):
        """The item is over."""
        return <int> constraint_settle(self._request(request_id).constraint)

    def append(self, request_id, int32_t token):
        """What the output stage does with a drawn token. True: it had been drafted."""
        return bool(request_append(self._request(request_id), token))

    def rollback(self):
        """Forgets the plan, as the worker does with a step that was abandoned."""
        if self.plan != NULL:
            plan_rollback(self.plan)

    def schedule(self, int64_t now_ns=0):
        """A list of PlanItem."""
        with nogil:
            self.plan = scheduler_schedule(self.scheduler, now_ns)
        cdef int32_t i, k
        items = []
        for i in range(self.plan.n_items):
            item = &self.plan.items[i]
            items.append(PlanItem(item.request.id, item.first_position, item.n_tokens, item.n_logits, item.n_draws,
                                  item.first_hidden, item.n_hidden, item.restored,
                                  tuple((item.marks[k].n_tokens, item.marks[k].snapshot) for k in range(item.n_marks))))
        return items

    @property
    def totals(self):
        """(n_tokens, n_decode, n_drafts, n_logits) of the last plan."""
        return self.plan.n_tokens, self.plan.n_decode, self.plan.n_drafts, self.plan.n_logits

    def apply(self, results, int64_t now_ns=0):
        """results: [(tokens that were appended, finish reason)], one per item of the plan."""
        cdef Py_ssize_t i
        if self.plan == NULL or len(results) != self.plan.n_items:
            raise ValueError("one result per item of the plan")
        cdef ox_step_result *array = <ox_step_result *> malloc(max(len(results), 1) * sizeof(ox_step_result))
        if array == NULL:
            raise MemoryError
        for i in range(len(results)):
            array[i].n_tokens, array[i].finish_reason = results[i]
        with nogil:
            scheduler_apply(self.scheduler, array, now_ns)
        free(array)

    def plan_is_alive(self, int64_t now_ns=0):
        return bool(plan_is_alive(self.plan, now_ns))

    def observe(self, int64_t step_ns, int32_t n_tokens, int32_t n_decode):
        scheduler_observe(self.scheduler, step_ns, n_tokens, n_decode)

    def finish_all(self, int32_t reason, int64_t now_ns=0):
        scheduler_finish_all(self.scheduler, <ox_finish_reason> reason, now_ns)

    @property
    def num_alive(self):
        return scheduler_num_alive(self.scheduler)

    @property
    def running(self):
        return [self.scheduler.running[i].id for i in range(self.scheduler.n_running)]

    @property
    def waiting(self):
        return [self.scheduler.waiting[i].id for i in range(self.scheduler.n_waiting)]

    @property
    def stats(self):
        s = &self.scheduler.stats
        return {
            "running": ox_load_relaxed_i64(&s.num_running),
            "waiting": ox_load_relaxed_i64(&s.num_waiting),
            "finished": ox_load_relaxed_i64(&s.num_finished),
            "preemptions": ox_load_relaxed_i64(&s.num_preemptions),
            "steps": ox_load_relaxed_i64(&s.num_steps),
            "prompt_tokens": ox_load_relaxed_i64(&s.num_prompt_tokens),
            "cached_tokens": ox_load_relaxed_i64(&s.num_cached_tokens),
            "output_tokens": ox_load_relaxed_i64(&s.num_output_tokens),
            "accepted_drafts": ox_load_relaxed_i64(&s.num_accepted_drafts),
            "rejected_drafts": ox_load_relaxed_i64(&s.num_rejected_drafts),
            "blocks_free": ox_load_relaxed_i64(&s.num_blocks_free),
            "blocks_cached": ox_load_relaxed_i64(&s.num_blocks_cached),
            "blocks_referenced": ox_load_relaxed_i64(&s.num_blocks_referenced),
        }

    def request(self, request_id):
        """The fields of a request by their names."""
        r = self._request(request_id)
        return {
            "state": <int> r.state,
            "finish_reason": <int> request_finish_reason(r),
            "output": [r.tokens[r.n_prompt + i] for i in range(r.n_output)],
            "n_drafts": r.n_drafts,
            "num_computed_tokens": r.num_computed_tokens,
            "num_cached_tokens": r.num_cached_tokens,
            "num_preemptions": r.num_preemptions,
            "blocks": [r.blocks[i] for i in range(r.n_blocks)],
            "window_blocks": [table_windows(self.pool.pool, r)[i] for i in range(r.n_blocks)],
            "n_left": r.n_left,
            "slot": r.slot,
            "restored": r.restored,
            "level": r.level,
            "start_ns": r.start_ns,
            "prefill_end_ns": r.prefill_end_ns,
            "first_token_ns": r.first_token_ns,
            "end_ns": r.end_ns,
            "finished": r.state == OX_STATE_FINISHED,
        }
