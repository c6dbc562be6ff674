"""Drafters for tests: one that knows the answer and lies at will, and the engine's own. Not used by the engine."""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from oxillama._core.output.handle cimport Handle
from oxillama._core.sampling.philox cimport OX_RANDOM_DRAW, ox_random_bits, ox_random_uniform
from oxillama._core.scheduling.prediction cimport prediction_create
from oxillama._core.scheduling.prompt_lookup cimport prompt_lookup_create
from oxillama._core.scheduling.worker cimport Worker
from oxillama._core.request cimport (
    OX_MAX_DRAFTS,
    num_known,
    ox_drafter,
    ox_request,
    request_append,
    request_create,
    request_unref,
)
from oxillama._core.scheduling.row_costs cimport OX_COSTED_ROWS, ox_row_costs, row_costs_observe, row_costs_worthwhile


cdef struct KnowingDrafter:
    ox_drafter base
    uint64_t seed
    uint32_t n_drawn        # random numbers
    double lie              # probability of a wrong token
    int32_t n_tokens        # random ones are in [0, n_tokens)
    int32_t n_answer
    int32_t answer[1]       # [n_answer]


cdef uint64_t random_bits(KnowingDrafter *drafter) noexcept nogil:
    drafter.n_drawn += 1
    return ox_random_bits(drafter.seed, 0, drafter.n_drawn, OX_RANDOM_DRAW)


cdef double uniform(KnowingDrafter *drafter) noexcept nogil:
    drafter.n_drawn += 1
    return ox_random_uniform(drafter.seed, 0, drafter.n_drawn, OX_RANDOM_DRAW)


cdef int32_t propose(ox_drafter *base, const ox_request *request, ox_row_costs *costs, int32_t n_rows, int32_t most,
                     int32_t *drafts) noexcept nogil:
    cdef KnowingDrafter *drafter = <KnowingDrafter *> base
    cdef int32_t i, place, n = <int32_t> (random_bits(drafter) % <uint64_t> (most + 1))
    for i in range(n):
        place = request.n_output + i
        drafts[i] = <int32_t> (random_bits(drafter) % <uint64_t> drafter.n_tokens)
        if place < drafter.n_answer and uniform(drafter) >= drafter.lie:
            drafts[i] = drafter.answer[place]
    return n


cdef void destroy(ox_drafter *base) noexcept nogil:
    free(base)


def attach_drafter(Handle handle not None, answer, *, double lie, int32_t n_tokens, uint64_t seed=0):
    """Lets a request that was not submitted yet have drafts of random length: tokens of its answer, as far as that is
    given, each with probability `lie` replaced by a random one in [0, n_tokens), which may be beyond the vocabulary."""
    cdef Py_ssize_t i, n = len(answer)
    if handle.request.drafter != NULL:
        handle.request.drafter.destroy(handle.request.drafter)
        handle.request.drafter = NULL
    cdef KnowingDrafter *drafter = <KnowingDrafter *> malloc(sizeof(KnowingDrafter) + n * sizeof(int32_t))
    if drafter == NULL:
        raise MemoryError
    drafter.base.propose = propose
    drafter.base.destroy = destroy
    drafter.seed = seed
    drafter.n_drawn = 0
    drafter.lie = lie
    drafter.n_tokens = n_tokens
    drafter.n_answer = <int32_t> n
    for i in range(n):
        drafter.answer[i] = answer[i]
    handle.request.drafter = &drafter.base


def draft_counts(Handle handle not None):
    """(accepted, rejected) drafts of a finished request."""
    return handle.request.num_accepted_drafts, handle.request.num_rejected_drafts


cdef struct EagerDrafter:
    ox_drafter base
    ox_drafter *drafter
    ox_row_costs costs      # every row is free


cdef void make_free(ox_row_costs *costs) noexcept nogil:
    cdef int32_t i
    for i in range(OX_COSTED_ROWS + 1):
        costs.step_ns[i] = 1


cdef int32_t propose_eagerly(ox_drafter *base, const ox_request *request, ox_row_costs *costs, int32_t n_rows,
                             int32_t most, int32_t *drafts) noexcept nogil:
    cdef EagerDrafter *eager = <EagerDrafter *> base
    make_free(&eager.costs)
    return eager.drafter.propose(eager.drafter, request, &eager.costs, 1, most, drafts)


cdef void destroy_eager(ox_drafter *base) noexcept nogil:
    cdef EagerDrafter *eager = <EagerDrafter *> base
    eager.drafter.destroy(eager.drafter)
    free(eager)


def attach_lookup(Handle handle not None):
    """Lets a request that was not submitted yet have what is found in its text, whatever it costs."""
    if handle.request.drafter != NULL:
        handle.request.drafter.destroy(handle.request.drafter)
    handle.request.drafter = prompt_lookup_create(handle.request.n_prompt + handle.request.max_output)
    if handle.request.drafter == NULL:
        raise MemoryError
    make_eager(handle)


def make_eager(Handle handle not None):
    """Lets the drafter of a request that was not submitted yet, if it has one, believe that rows cost nothing."""
    if handle.request.drafter == NULL:
        return
    cdef EagerDrafter *eager = <EagerDrafter *> calloc(1, sizeof(EagerDrafter))
    if eager == NULL:
        raise MemoryError
    eager.base.propose = propose_eagerly
    eager.base.destroy = destroy_eager
    eager.drafter = handle.request.drafter
    handle.request.drafter = &eager.base


def make_draft_model_eager(Worker worker not None):
    """Lets the draft model of a worker that is at rest believe that rows cost nothing."""
    if worker.c.draft_model == NULL:
        raise ValueError("the worker has no draft model")
    worker.c.draft_model.is_eager = True


@cython.final
cdef class RowCosts:
    cdef ox_row_costs c

    def observe(self, int32_t n_rows, int64_t step_ns):
        row_costs_observe(&self.c, n_rows, step_ns)

    def worthwhile(self, int32_t n_rows, int32_t n, double chance, double draft_ns=0):
        return row_costs_worthwhile(&self.c, n_rows, n, chance, draft_ns)


@cython.final
cdef class PromptLookup:
    """A request that nobody computes, and its drafter: the lookup, behind a prediction if there is one."""

    cdef ox_request *request

    def __cinit__(self, const int32_t[::1] prompt not None, int32_t max_output=1000,
                  const int32_t[::1] prediction=None):
        self.request = request_create(&prompt[0], <int32_t> prompt.shape[0], max_output)
        if self.request == NULL:
            raise MemoryError
        self.request.drafter = prompt_lookup_create(<int32_t> prompt.shape[0] + max_output)
        if prediction is not None:
            self.request.drafter = prediction_create(&prediction[0], <int32_t> prediction.shape[0],
                                                     self.request.drafter)

    def __dealloc__(self):
        request_unref(self.request)

    def propose(self, int32_t most=OX_MAX_DRAFTS, *, int32_t n_rows=1, RowCosts costs=None):
        """The drafts; without costs rows are free."""
        cdef ox_row_costs free_costs
        make_free(&free_costs)
        cdef ox_drafter *drafter = self.request.drafter
        cdef int32_t *drafts = self.request.tokens + num_known(self.request)
        cdef int32_t n
        with nogil:
            n = drafter.propose(drafter, self.request, &free_costs if costs is None else &costs.c, n_rows, most, drafts)
        return [drafts[i] for i in range(n)]

    def append(self, int32_t token):
        self.request.n_drafts = 0
        request_append(self.request, token)

    def verified(self, int32_t n_accepted, int32_t n_rejected):
        self.request.num_accepted_drafts += n_accepted
        self.request.num_rejected_drafts += n_rejected
