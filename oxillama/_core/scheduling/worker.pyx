"""The worker: one native thread that owns all model state, takes requests from the ring, and advances them together.

It never touches the GIL and never calls Python: requests come in through the ring, results leave through each request's
output. The thread is joined before anything it reads is freed; it leads the program's team, which ends after it."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from oxillama._core.atomics cimport (
    ox_fetch_add_relaxed_i64,
    ox_load_acquire_i32,
    ox_load_acquire_ptr,
    ox_load_relaxed_i32,
    ox_load_relaxed_i64,
    ox_store_relaxed_i32,
    ox_store_relaxed_i64,
    ox_store_release_i32,
    ox_store_release_ptr,
)
from oxillama._core.sampling.candidates cimport ox_candidates_create, ox_candidates_free
from oxillama._core.network.adapter cimport AdapterSet
from oxillama._core.network.executor cimport OX_STEP_DONE, execute, ox_batch, ox_default_fp_mode, replay
from oxillama._core.scheduling.generation cimport finish_generation, keep_row, publish_generation, take_item
from oxillama._core.scheduling.counters cimport scheduler_counters
from oxillama._core.scheduling.draft_model cimport draft_model_create, draft_model_destroy
from oxillama._core.scheduling.drafting cimport propose_drafts
from oxillama._core.scheduling.gone_sets cimport gone_forget, gone_free, gone_push
from oxillama._core.scheduling.kv_blocks cimport kv_pool_create, kv_pool_destroy
from oxillama._core.scheduling.kv_cache cimport KVCache, kv_arena_grow
from oxillama._core.memory cimport pages_enlarge
from oxillama._core.parking cimport ox_monotonic_ns
from oxillama._core.request cimport (
    OX_FINISH_CLOSED,
    OX_FINISH_ERROR,
    OX_FINISH_NONE,
    OX_MAX_DRAFTS,
    ox_request,
    request_unref,
)
from oxillama._core.scheduling.mask_thread cimport masks_begin, masks_finish, masks_start, masks_stop
from oxillama._core.scheduling.capacity cimport capacity_destroy, capacity_init, capacity_take, capacity_wake_all
from oxillama._core.ring cimport (
    ring_close, ring_create, ring_destroy, ring_is_quiet, ring_left_queue, ring_sleep, ring_take, ring_wake,
)
from oxillama._core.output.output cimport ox_output
from oxillama._core.scheduling.plan cimport num_accepted, ox_plan_item, plan_is_alive, plan_rollback
from oxillama._core.network.pooling cimport pooling_ranks
from oxillama._core.scheduling.profile cimport ox_profile, profile_add, profile_lap
from oxillama._core.scheduling.row_costs cimport row_costs_observe
from oxillama._core.scheduling.block_table cimport table_windows
from oxillama._core.scheduling.snapshots cimport snapshots_create, snapshots_destroy
from oxillama._core.scheduling.window_pool cimport window_pool_create, window_pool_destroy
from oxillama._core.scheduling.scheduler cimport (
    scheduler_add, scheduler_apply, scheduler_create, scheduler_destroy, scheduler_finish_all,
    scheduler_num_alive, scheduler_observe, scheduler_schedule,
)
from oxillama._core.scheduling.turns cimport Turns, ox_turns, turns_enter, turns_leave
from oxillama._core.status cimport OX_OK, ox_status
from oxillama._core.network.team cimport ox_team_share, thread_refused

cdef extern from "<unistd.h>" nogil:
    int getpid()

cdef extern from "worker_thread.h" nogil:
    int ox_thread_start(unsigned long *thread, void *(*main)(void *) noexcept nogil, void *argument, const char *name)
    int ox_thread_join(unsigned long thread)

cdef enum:
    # A busy worker spends at most one part in this many of its time on making pages large, 1 to 4 ms for each: small
    # ones cost it up to a tenth of its speed (page_speed.py).
    PAGE_PERIOD = 32


ctypedef struct Rows:
    # The rows of logits of one item that are kept, as the team is called for them.
    ox_worker *worker
    const ox_plan_item *item
    int32_t first


cdef void *worker_main(void *argument) noexcept nogil:
    cdef ox_worker *w = <ox_worker *>argument
    cdef ox_plan *plan
    cdef ox_turns *turns
    cdef bint is_done
    ox_default_fp_mode()
    while True:
        ox_store_relaxed_i64(&w.stats.heartbeat_ns, ox_monotonic_ns())
        admit(w)
        gone_forget(&w.gone_sets, w.pool)
        if ox_load_acquire_i32(&w.ring.closed):
            break
        turns = turns_enter(&w.turns) if scheduler_num_alive(w.scheduler) > 0 else NULL
        propose_drafts(w.scheduler, &w.costs, w.draft_model, w.n_vocab)
        plan = scheduler_schedule(w.scheduler, ox_monotonic_ns())
        is_done = plan.n_items > 0
        if is_done:
            step(w, plan)
        turns_leave(turns)
        if is_done:
            enlarge_a_page(w)
        elif scheduler_num_alive(w.scheduler) == 0:
            rest(w)
    close_down(w)
    ox_store_release_i32(&w.is_running, 0)
    capacity_wake_all(&w.at_rest)
    return NULL


cdef void admit(ox_worker *w) noexcept nogil:
    cdef ox_request *request
    cdef ox_status status
    while True:
        request = ring_take(w.ring)
        if request == NULL:
            return
        status = scheduler_add(w.scheduler, request, ox_monotonic_ns())
        if status != OX_OK:
            request.status = status
            on_start(w, request)
            finish_generation(NULL, request, OX_FINISH_ERROR)
            request_unref(request)


cdef void rest(ox_worker *w) noexcept nogil:
    """Makes one more page of the weights large, or sleeps without using the processor when they all are. The team falls
    asleep by itself."""
    ox_store_relaxed_i64(&w.stats.heartbeat_ns, 0)
    # The lock of the waiters orders this behind all that was written: who joins later sees that nothing is left to do.
    capacity_wake_all(&w.at_rest)
    # A request that comes now waits for one page, a few milliseconds.
    if w.program.weights == NULL or not pages_enlarge(w.program.weights):
        ring_sleep(w.ring, -1)


cdef void enlarge_a_page(ox_worker *w) noexcept nogil:
    """Like rest(), makes one more page large, between two steps and only now and then."""
    cdef int64_t begin = ox_monotonic_ns()
    if w.program.weights != NULL and begin >= w.next_page_ns and pages_enlarge(w.program.weights):
        w.next_page_ns = begin + PAGE_PERIOD * (ox_monotonic_ns() - begin)


cdef void close_down(ox_worker *w) noexcept nogil:
    scheduler_finish_all(w.scheduler, OX_FINISH_CLOSED, ox_monotonic_ns())
    while True:
        admit(w)
        scheduler_finish_all(w.scheduler, OX_FINISH_CLOSED, ox_monotonic_ns())
        # A submitter may still be between its look at `closed` and its cell.
        if ring_is_quiet(w.ring):
            admit(w)
            scheduler_finish_all(w.scheduler, OX_FINISH_CLOSED, ox_monotonic_ns())
            return
        ring_sleep(w.ring, 1000000)


cdef bint should_abandon(void *context) noexcept nogil:
    cdef ox_worker *w = <ox_worker *>context
    cdef int64_t now = ox_monotonic_ns()
    # A step may take long; a worker that still gets from layer to layer is alive.
    ox_store_relaxed_i64(&w.stats.heartbeat_ns, now)
    return ox_load_relaxed_i32(&w.ring.closed) or not plan_is_alive(w.plan, now)


cdef void step(ox_worker *w, ox_plan *plan) noexcept nogil:
    cdef int64_t begin = ox_monotonic_ns(), end, walked
    cdef ox_batch batch
    cdef ox_profile *profile = <ox_profile *>ox_load_acquire_ptr(&w.program.profile)
    cdef int32_t i
    cdef bint is_done
    fill_batch(w, plan, &batch)
    w.plan = plan
    masks_begin(&w.masks, plan, ox_load_relaxed_i32(&w.overlaps_masks))
    is_done = execute(w.program, &batch) == OX_STEP_DONE
    masks_finish(&w.masks)
    if not is_done:
        plan_rollback(plan)
        return
    keep_rows(w, plan)
    walked = ox_monotonic_ns()
    # What becomes of an item depends on its own request alone, so the split is free. One is not worth waking anybody.
    ox_team_share(NULL if plan.n_logits <= 1 else w.program.step_team, plan.n_items, take_one_item, w)
    for i in range(plan.n_items):
        w.runs[i].n_accepted = num_accepted(&plan.items[i], w.results[i].n_tokens)
    replay(w.program, &batch)
    if profile != NULL:
        profile_lap(&profile.sample_ns, walked)
    # Requests that go on are told now; those that end, by on_finish, when everything of theirs is final.
    for i in range(plan.n_items):
        if w.results[i].finish_reason == OX_FINISH_NONE and w.results[i].n_tokens > 0:
            publish_generation(plan.items[i].request)
    end = ox_monotonic_ns()
    if profile != NULL:
        profile_add(&profile.step_ns, end - begin)
    scheduler_observe(w.scheduler, end - begin, plan.n_tokens - plan.n_drafts, plan.n_decode)
    if plan.n_tokens == plan.n_decode + plan.n_drafts:
        row_costs_observe(&w.costs, plan.n_tokens, end - begin)
    ox_fetch_add_relaxed_i64(&w.stats.num_steps, 1)
    ox_fetch_add_relaxed_i64(&w.stats.busy_ns, end - begin)
    ox_store_relaxed_i64(&w.stats.step_ns, end - begin)
    scheduler_apply(w.scheduler, w.results, end)


cdef void fill_batch(ox_worker *w, ox_plan *plan, ox_batch *batch) noexcept nogil:
    cdef int32_t i, row = 0, output = 0, n_kept = 0
    cdef ox_plan_item *item
    for i in range(plan.n_items):
        item = &plan.items[i]
        w.runs[i].first_row = row
        w.runs[i].restored = item.restored
        w.runs[i].n_drafts = max(0, item.n_draws - 1)
        w.runs[i].first_kept = n_kept
        w.runs[i].n_accepted = 0
        w.runs[i].n_marks = item.n_marks
        w.runs[i].marks = item.marks
        n_kept += w.runs[i].n_drafts
        w.runs[i].n_tokens = item.n_tokens
        w.runs[i].first_position = item.first_position
        w.runs[i].blocks = item.request.blocks
        w.runs[i].window_blocks = table_windows(w.pool, item.request)
        w.runs[i].slot = item.request.slot
        w.runs[i].second_start = item.request.second_start
        w.runs[i].adapters = item.request.adapters
        memcpy(w.tokens + row, item.request.tokens + item.first_position, item.n_tokens * sizeof(int32_t))
        row += item.n_tokens
        w.first_logits[i] = output
        output += want_rows(w, output, row - item.n_logits, item.n_logits)
        if reads_scores(item):
            w.first_hidden[i] = output
            output += want_hidden(w, i, item, output)
    # Rows of logits or scores come first, so that hidden states cost none.
    batch.n_logits = output
    for i in range(plan.n_items):
        item = &plan.items[i]
        if not reads_scores(item):
            w.first_hidden[i] = output
            output += want_hidden(w, i, item, output)
    batch.n_tokens = row
    batch.n_outputs = output
    batch.n_runs = plan.n_items
    batch.tokens = w.tokens
    batch.output_rows = w.output_rows
    batch.runs = w.runs
    batch.abandon = should_abandon
    batch.context = w


cdef int32_t want_rows(ox_worker *w, int32_t output, int32_t row, int32_t n) noexcept nogil:
    """Rows [row, row + n) of the batch leave the network as outputs from `output` on. Returns n."""
    cdef int32_t i
    for i in range(n):
        w.output_rows[output + i] = row + i
    return n


cdef int32_t want_hidden(ox_worker *w, int32_t i, const ox_plan_item *item, int32_t output) noexcept nogil:
    return want_rows(w, output, w.runs[i].first_row + item.first_hidden - item.first_position, item.n_hidden)


cdef bint reads_scores(const ox_plan_item *item) noexcept nogil:
    """Is an embedding of this item made of a classifier's scores, rather than of hidden states?"""
    return item.n_hidden > 0 and pooling_ranks((<ox_output *>item.request.output).pooling)


cdef void keep_rows(ox_worker *w, ox_plan *plan) noexcept nogil:
    cdef int32_t i
    cdef Rows rows
    rows.worker = w
    for i in range(plan.n_items):
        rows.item = &plan.items[i]
        rows.first = w.first_logits[i]
        if rows.item.n_logits > rows.item.n_draws:
            ox_team_share(w.program.step_team, rows.item.n_logits - rows.item.n_draws, keep_one_row, &rows)


cdef void keep_one_row(void *context, int32_t i, int32_t place) noexcept nogil:
    cdef Rows *rows = <Rows *>context
    keep_row(rows.worker.program, rows.item, rows.item.n_tokens - rows.item.n_logits + i, rows.first + i,
             rows.worker.n_vocab)


cdef void take_one_item(void *context, int32_t i, int32_t place) noexcept nogil:
    cdef ox_worker *w = <ox_worker *>context
    cdef const ox_plan_item *item = &w.plan.items[i]
    take_item(w.program, item, w.first_logits[i] + item.n_logits - item.n_draws, w.first_hidden[i], w.memories[place],
              w.n_vocab, &w.results[i])


cdef void grow_caches(void *context, int32_t n_blocks) noexcept nogil:
    cdef ox_worker *w = <ox_worker *>context
    kv_arena_grow(w.arena, n_blocks)
    if w.draft_arena != NULL:
        kv_arena_grow(w.draft_arena, n_blocks)


cdef void on_start(void *context, ox_request *request) noexcept nogil:
    ring_left_queue((<ox_worker *>context).ring)


cdef class Worker:
    """Runs a program for everybody who submits. Starts its thread at once.

    vocabulary: the TokenTable of the requests' text streams, or None without a tokenizer. n_kept_blocks: with more than
    these cached, one is evicted before the KV cache grows. snapshot_tokens: how often recurrent states are kept, a
    multiple of 32. draft: a small program that guesses for the other, with as many blocks and the same team, or None;
    draft_n_ctx: positions that it knows."""

    def __init__(self, Program program not None, vocabulary=None, *, int32_t n_ctx, int32_t max_batch_size,
                 int64_t max_step_ns, int64_t priority_aging_ns, int32_t queue_size, bint prefix_cache,
                 int32_t n_kept_blocks, int32_t snapshot_tokens, int32_t n_kept_window_blocks=0, Program draft=None,
                 int32_t draft_n_ctx=0):
        cdef int i, max_tokens = program.c.max_tokens
        self._program = program
        self._draft = draft
        self._vocabulary = vocabulary
        self._adapters = set()
        self._pid = getpid()
        self.config.max_batch_size = max_batch_size
        self.config.max_batch_tokens = max_tokens
        self.config.max_outputs = program.c.max_outputs
        self.config.max_drafts = OX_MAX_DRAFTS
        self.config.max_step_ns = max_step_ns
        self.config.priority_aging_ns = priority_aging_ns
        self.config.n_ctx = n_ctx
        self.c.program = &program.c
        self.c.n_vocab = program.n_vocab
        self.c.n_threads = program.c.n_threads
        if capacity_init(&self.c.at_rest, 1) != 0:
            raise MemoryError("no memory for the worker")
        self._has_rest_line = True
        capacity_take(&self.c.at_rest, 1)
        self.c.ring = ring_create(queue_size)
        self.c.pool = kv_pool_create(program.kv.n_blocks, <uint64_t>-1)
        if program.n_snapshots > 0 and prefix_cache and self.c.pool != NULL:
            self.c.snapshots = snapshots_create(program.n_snapshots, program.kv.n_blocks, snapshot_tokens)
            if self.c.snapshots == NULL:
                raise MemoryError("no memory for the worker")
            self.c.pool.snapshots = self.c.snapshots
        if program.kv.n_window_blocks > 0 and self.c.pool != NULL:
            self.c.windows = window_pool_create(program.kv.n_window_blocks, program.kv.n_blocks, program.kv.window)
            if self.c.windows == NULL:
                raise MemoryError("no memory for the worker")
            self.c.windows.num_kept = n_kept_window_blocks
            self.c.windows.grow = kv_arena_grow
            self.c.windows.grow_context = &program.kv.window_arena
            self.c.pool.windows = self.c.windows
        # Restoring a part of a sequence would be worse than nothing.
        self.config.prefix_cache = prefix_cache and (self.c.snapshots != NULL or not program.has_state)
        self.c.tokens = <int32_t *>calloc(max_tokens, sizeof(int32_t))
        self.c.output_rows = <int32_t *>calloc(max_tokens, sizeof(int32_t))
        self.c.runs = <ox_run *>calloc(max_batch_size, sizeof(ox_run))
        self.c.results = <ox_step_result *>calloc(max_batch_size, sizeof(ox_step_result))
        self.c.first_logits = <int32_t *>calloc(max_batch_size, sizeof(int32_t))
        self.c.first_hidden = <int32_t *>calloc(max_batch_size, sizeof(int32_t))
        self.c.memories = <ox_candidates **>calloc(self.c.n_threads, sizeof(ox_candidates *))
        if not (self.c.ring and self.c.pool and self.c.tokens and self.c.output_rows and self.c.runs and self.c.results
                and self.c.first_logits and self.c.first_hidden and self.c.memories):
            raise MemoryError("no memory for the worker")
        self.c.pool.num_kept = n_kept_blocks
        self.c.pool.grow = grow_caches
        self.c.pool.grow_context = &self.c
        self.c.arena = &program.kv.arena
        self.c.draft_arena = NULL if draft is None else &draft.kv.arena
        for i in range(self.c.n_threads if program.has_logits else 0):
            self.c.memories[i] = ox_candidates_create(self.c.n_vocab, n_ctx)
            if self.c.memories[i] == NULL:
                raise MemoryError("no memory for the sampler")
        if draft is not None:
            self.c.draft_model = draft_model_create(&draft.c, self.c.n_vocab, min(n_ctx, draft_n_ctx), max_batch_size,
                                                    program.kv.n_blocks)
            if self.c.draft_model == NULL:
                raise MemoryError("no memory for the draft model")
        if scheduler_create(&self.c.scheduler, &self.config, self.c.pool) != OX_OK:
            raise MemoryError("no memory for the scheduler")
        self.c.scheduler.on_start = on_start
        self.c.scheduler.start_context = &self.c
        self.c.scheduler.on_finish = finish_generation
        self.c.overlaps_masks = 1
        cdef int error = masks_start(&self.c.masks, self.c.n_vocab, max_batch_size) if program.has_logits else 0
        if error != 0:
            raise thread_refused(error, self.c.n_threads + 1, self.c.n_threads + 1)
        self.c.is_running = 1
        error = ox_thread_start(&self._thread, worker_main, &self.c, "oxillama")
        if error != 0:
            raise thread_refused(error, self.c.n_threads, self.c.n_threads)
        self._started = True

    @property
    def program(self):
        """What it runs; None once it has ended."""
        return self.running()

    cdef Program running(self):
        with cython.critical_section(self):
            return self._program

    def close(self):
        """Ends every request, then the thread and its team, and lets go of the model. May be called again; does nothing
        in a forked child."""
        if self._started and self._pid == getpid():
            self._started = False
            with nogil:
                ring_close(self.c.ring)
                ox_thread_join(self._thread)
                masks_stop(&self.c.masks)
            self._program.team.close()
            with cython.critical_section(self):
                self._program = self._draft = None
            self._adapters.clear()

    def __del__(self):
        # A finaliser, not __dealloc__: the cycle collector would already have taken the program away from the thread.
        self.close()

    def __dealloc__(self):
        cdef int i
        if self._started:
            # In a forked child: the thread is not here, and may have left anything half done. Leave it all alone.
            return
        masks_stop(&self.c.masks)
        if self.c.scheduler != NULL:
            scheduler_destroy(self.c.scheduler)
        if self.c.ring != NULL:
            ring_destroy(self.c.ring)
        if self.c.pool != NULL:
            kv_pool_destroy(self.c.pool)
        if self._has_rest_line:
            capacity_destroy(&self.c.at_rest)
        snapshots_destroy(self.c.snapshots)
        window_pool_destroy(self.c.windows)
        draft_model_destroy(self.c.draft_model)
        if self.c.memories != NULL:
            for i in range(self.c.n_threads):
                ox_candidates_free(self.c.memories[i])
        free(self.c.memories)
        free(self.c.tokens)
        free(self.c.output_rows)
        free(self.c.runs)
        free(self.c.results)
        free(self.c.first_logits)
        free(self.c.first_hidden)
        gone_free(&self.c.gone_sets)

    @property
    def is_running(self):
        return bool(ox_load_acquire_i32(&self.c.is_running))

    @property
    def overlaps_masks(self):
        """Whether masks of constraints are computed beside the forward pass. A result never tells."""
        return bool(ox_load_relaxed_i32(&self.c.overlaps_masks))

    @overlaps_masks.setter
    def overlaps_masks(self, bint value):
        ox_store_relaxed_i32(&self.c.overlaps_masks, value)

    @property
    def pid(self):
        """The process that started the thread."""
        return self._pid

    def take_turns(self, Turns turns not None):
        """From its next step on the worker takes turns with all that share them. Once."""
        if self._turns is not None:
            raise ValueError("the worker takes turns already")
        self._turns = turns
        ox_store_release_ptr(&self.c.turns, &turns.c)

    def wake(self):
        """Makes the worker look at cancel flags and deadlines now."""
        ring_wake(self.c.ring)

    def hold_adapters(self, AdapterSet adapters not None):
        """Keeps what may be applied to requests from now on."""
        self._adapters.add(adapters)

    def drop_adapters(self, AdapterSet adapters not None):
        """Lets go of a set that nobody has pinned or can pin any more, and frees the cached blocks of it soon."""
        if adapters.num_pins > 0:
            raise ValueError(f"{adapters.num_pins} requests have the adapters")
        self._adapters.discard(adapters)
        if self.is_running:
            gone_push(&self.c.gone_sets, adapters.c.id)
            ring_wake(self.c.ring)

    def wake_waiting(self):
        """Makes those who wait for the queue look at the engine's state now."""
        capacity_wake_all(&self.c.ring.capacity)
        capacity_wake_all(&self.c.at_rest)

    def stats(self):
        """Counters since the start and gauges of now, by name; see EngineStats. Never stops the worker."""
        cdef Program program = self.running()
        cdef KVCache kv = None if program is None else program.kv
        cdef dict found = {
            # First, and acquired: who is not queued any more is then seen to run, so the sum never misses anybody.
            "queue_depth": ox_load_acquire_i32(&self.c.ring.capacity.num_taken),
            "num_waiters": ox_load_relaxed_i32(&self.c.ring.capacity.num_waiting),
            "num_steps": ox_load_relaxed_i64(&self.c.stats.num_steps),
            "step_ns": ox_load_relaxed_i64(&self.c.stats.step_ns),
            "busy_ns": ox_load_relaxed_i64(&self.c.stats.busy_ns),
            "heartbeat_ns": ox_load_relaxed_i64(&self.c.stats.heartbeat_ns),
            "now_ns": ox_monotonic_ns(),
            **scheduler_counters(self.c.scheduler),
            "kv_block_bytes": 0 if kv is None else kv.block_bytes,
            "kv_window_block_bytes": 0 if kv is None else kv.window_block_bytes,
            "kv_bytes": 0 if kv is None else kv.n_bytes,
            "kv_bytes_resident": 0 if kv is None else kv.n_resident,
        }
        return found
