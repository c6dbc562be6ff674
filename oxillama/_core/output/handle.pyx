"""The Python end of a request: makes it, submits it, reads its output. Dropping it is the cancellation."""

cimport cython
from libc.math cimport NAN
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from typing import NamedTuple

import numpy as np

from oxillama._core.atomics cimport ox_atomic_i64, ox_fetch_add_relaxed_i64, ox_load_acquire_i32, ox_load_acquire_ptr
from oxillama._core.constraint cimport Constraint
from oxillama._core.scheduling.generation cimport (
    OX_FAULT_CONSTRAINT,
    OX_FAULT_DEAD_END,
    OX_FAULT_MEMORY,
    OX_FAULT_NO_TOKEN,
    OX_FAULT_NUMERICAL,
)
from oxillama._core.scheduling.mailbox cimport Mailbox
from oxillama._core.output.output cimport (
    OX_STOP_STRING,
    OX_STOP_TOKEN,
    output_attach,
    output_create,
    output_destroy,
    output_keep_logits,
    output_wait,
)
from oxillama._core.network.adapter cimport set_pin
from oxillama._core.network.program cimport Program
from oxillama._core.parking cimport ox_monotonic_ns
from oxillama._core.network.pooling cimport (
    OX_POOLING_CLS,
    OX_POOLING_LAST,
    OX_POOLING_MEAN,
    OX_POOLING_NONE,
    OX_POOLING_RANK,
    OX_POOLING_RANK_LAST,
    ox_pooling_kind,
    pooling_create,
    pooling_span,
)
from oxillama._core.scheduling.prediction cimport prediction_create
from oxillama._core.scheduling.prompt_lookup cimport prompt_lookup_create
from oxillama._core.output.prompt_scores cimport ox_prompt_scores, prompt_scores_create
from oxillama._core.request cimport (
    OX_FAULT_ADAPTER,
    OX_FINISH_CANCELLED,
    OX_FINISH_CLOSED,
    OX_FINISH_DEADLINE,
    OX_FINISH_ERROR,
    OX_FINISH_LENGTH,
    OX_FINISH_NONE,
    OX_FINISH_STOP,
    OX_REQUEST_EMBED,
    OX_REQUEST_EVALUATE,
    OX_REQUEST_GENERATE,
    ox_finish_reason,
    request_cancel,
    request_create,
    request_finish_reason,
    request_ref,
    request_unref,
)
from oxillama._core.ring cimport ring_submit, ring_submit_counted
from oxillama._core.scheduling.capacity cimport waiter_use
from oxillama._core.sampling.parameters cimport CompiledSampling, ox_sampling, ox_sampling_copy, ox_sampling_free
from oxillama._core.scheduling.scheduler cimport scheduler_check
from oxillama._core.status cimport OX_CLOSED, OX_NO_MEMORY, OX_OK, OX_QUEUE_FULL, OX_TOO_LONG, ox_status
from oxillama._core.output.text_stream cimport TextStream
from oxillama._core.scheduling.waiter cimport Waiter

FINISH_REASONS = {
    OX_FINISH_STOP: "stop",
    OX_FINISH_LENGTH: "length",
    OX_FINISH_CANCELLED: "cancelled",
    OX_FINISH_DEADLINE: "deadline",
    OX_FINISH_ERROR: "error",
    OX_FINISH_CLOSED: "closed",
}
FAULTS = {
    OX_FAULT_NUMERICAL: "numerical",
    OX_FAULT_NO_TOKEN: "no_token",
    OX_FAULT_DEAD_END: "dead_end",
    OX_FAULT_CONSTRAINT: "constraint",
    OX_FAULT_MEMORY: "memory",
    OX_FAULT_ADAPTER: "adapter",
    OX_TOO_LONG: "too_long",
    OX_NO_MEMORY: "memory",
}
# By the names that callers use.
POOLINGS = {
    "none": OX_POOLING_NONE,
    "mean": OX_POOLING_MEAN,
    "cls": OX_POOLING_CLS,
    "last": OX_POOLING_LAST,
    "rank": OX_POOLING_RANK,
}
ACCEPTED = OX_OK
QUEUE_FULL = OX_QUEUE_FULL
CLOSED = OX_CLOSED

# Of this process.
cdef ox_atomic_i64 request_counter
# Longer than any process lives, and far from the end of int64 nanoseconds.
cdef double MAX_DEADLINE_SECONDS = 1e9


class TokenEvent(NamedTuple):
    """One generated token: what it adds to the text, and its log-probability if that was asked for."""

    token: int
    text: str
    logprob: float
    top: tuple[tuple[int, float], ...]

    def __repr__(self):
        return f"TokenEvent(text=<{len(self.text)} characters>)"


cdef void free_sampling(void *sampling) noexcept nogil:
    ox_sampling_free(<ox_sampling *>sampling)


@cython.no_gc_clear  # the request may look at the adapters once more when it is freed
cdef class Handle:
    """One sequence in the worker.

    prompt: int32 [n], ids already checked against the vocabulary. sampling: None for an embedding or an evaluation.
    deadline: seconds from now, or None. pooling: one of POOLINGS, for an embedding of `dimensions` values; "rank": the
    classifier's scores. second_start: where in the prompt the second of two texts begins, or -1.
    n_prompt_logprobs: alternatives to keep for each token of the prompt; -1: the prompt is not scored.
    first_prompt_logprob: the place of the first of them that is wanted; what is before may be taken from the cache.
    keep_logits: an evaluation keeps the logits of its prompt. speculates: drafts are looked up in its own text.
    constraint: taken over; what every token of the output must agree with. prediction: int32 [n], tokens that the
    caller expects to be written.
    adapters: what is applied to it; the worker must hold them, and the caller have pinned them until now."""

    def __init__(self, Worker worker not None, const int32_t[::1] prompt not None, *, int32_t max_output=0,
                 CompiledSampling sampling=None, TextStream stream=None, int32_t n_logprobs=-1, int32_t min_tokens=0,
                 bint speculates=False, int choice=0, int32_t priority=0, deadline=None, bint cache_prompt=True,
                 bytes salt=b"", int32_t n_prompt_logprobs=-1, int32_t first_prompt_logprob=0, bint keep_logits=False,
                 str pooling=None, int32_t dimensions=0, bint normalize=True, int32_t second_start=-1,
                 Constraint constraint=None, const int32_t[::1] prediction=None, AdapterSet adapters=None):
        cdef Program program
        cdef double seconds
        cdef int32_t width
        cdef int kind
        if prompt.shape[0] == 0 or prompt.shape[0] >= 2**31:
            raise ValueError(f"a prompt of {prompt.shape[0]} tokens")
        self.worker = worker
        self.request = request_create(&prompt[0], <int32_t>prompt.shape[0], max_output)
        if self.request == NULL:
            raise MemoryError("no memory for the request")
        self.output = output_create(max_output, n_logprobs, min_tokens, stream)
        if self.output == NULL:
            raise MemoryError("no memory for the request's output")
        self.output.choice = choice
        self.request.output = self.output
        self.request.destroy_output = output_destroy
        self.request.id = <uint64_t>ox_fetch_add_relaxed_i64(&request_counter, 1) + 1
        self.request.priority = priority
        self.request.cache_prompt = cache_prompt
        if adapters is not None:
            self._adapters = adapters
            self.request.adapters = &adapters.c
            set_pin(&adapters.c)
            self.request.domain.adapter_set = adapters.c.id
        if salt:
            memcpy(self.request.domain.salt, <const char *>salt, min(len(salt), sizeof(self.request.domain.salt)))
        self.request.arrival_ns = ox_monotonic_ns()
        if deadline is not None:
            seconds = min(<double>deadline, MAX_DEADLINE_SECONDS)
            self.request.deadline_ns = self.request.arrival_ns + max(1, <int64_t>(seconds * 1e9))
        if pooling is not None:
            kind = POOLINGS[pooling]
            # Without a program the worker has ended, and no request will be taken.
            program = worker.running()
            if program is not None:
                width = program.n_scores if kind == OX_POOLING_RANK else program.hidden_width
                if not 0 < dimensions <= width:
                    raise ValueError(f"{dimensions} dimensions of {width}")
                self.request.whole = program.whole
            if kind == OX_POOLING_RANK and not self.request.whole:
                # Only the last token has seen the others.
                kind = OX_POOLING_RANK_LAST
            if second_start >= 0:
                self.request.second_start = second_start
            self.request.kind = OX_REQUEST_EMBED
            # A prefix that is already in the cache would have no hidden states.
            self.request.cache_prompt = False
            self.output.pooling = pooling_create(<ox_pooling_kind>kind, <int32_t>prompt.shape[0],
                                                 dimensions, normalize)
            if self.output.pooling == NULL:
                raise MemoryError(f"no memory for the embedding of {prompt.shape[0]} tokens")
            pooling_span(self.output.pooling, &self.request.first_hidden, &self.request.end_hidden)
            return
        if n_prompt_logprobs >= 0:
            self.request.scores_prompt = True
            # A token is scored by the row before it.
            self.request.first_scored = max(0, first_prompt_logprob - 1)
            self.output.scores = prompt_scores_create(<int32_t>prompt.shape[0], n_prompt_logprobs)
            if self.output.scores == NULL:
                raise MemoryError(f"no memory for the scores of {prompt.shape[0]} tokens")
        if sampling is None:
            self.request.kind = OX_REQUEST_EVALUATE
            # A prefix that is already in the cache would have no logits.
            self.request.cache_prompt = False
            if keep_logits and not output_keep_logits(self.output, <int32_t>prompt.shape[0], worker.c.n_vocab):
                raise MemoryError(f"no memory for {prompt.shape[0]} x {worker.c.n_vocab} logits")
            return
        self.request.kind = OX_REQUEST_GENERATE
        self.request.sampling = ox_sampling_copy(sampling.get())
        self.request.destroy_sampling = free_sampling
        if self.request.sampling == NULL:
            raise MemoryError("no memory for the request's sampling parameters")
        self.output.mirostat_mu = 2 * sampling.mirostat_tau
        if constraint is not None:
            self.request.constraint = constraint.release()
        if speculates:
            self.request.drafter = prompt_lookup_create(<int32_t>prompt.shape[0] + max_output)
            if self.request.drafter == NULL:
                raise MemoryError("no memory for the request's drafts")
        if prediction is not None and prediction.shape[0] > 0:
            self.request.drafter = prediction_create(
                &prediction[0], <int32_t>min(prediction.shape[0], <Py_ssize_t>2**30), self.request.drafter)
            if self.request.drafter == NULL:
                raise MemoryError("no memory for the request's drafts")

    def __dealloc__(self):
        if self.request != NULL:
            request_cancel(self.request)
            request_unref(self.request)

    def cancel(self):
        request_cancel(self.request)

    @property
    def id(self):
        return self.request.id

    @property
    def fits(self):
        """Can this prompt ever run, given the context and the whole cache?"""
        return scheduler_check(&self.worker.config, self.worker.c.pool.stats.n_blocks, self.request) == OX_OK

    @property
    def num_published(self):
        return ox_load_acquire_i32(&self.output.num_published)

    @property
    def num_prompt_tokens(self):
        return self.request.n_prompt

    @property
    def num_cached_tokens(self):
        return self.request.num_cached_tokens

    @property
    def num_accepted_drafts(self):
        return self.request.num_accepted_drafts

    @property
    def num_rejected_drafts(self):
        return self.request.num_rejected_drafts

    @property
    def num_preemptions(self):
        return self.request.num_preemptions

    @property
    def finish_reason(self):
        """None while the request lives; then "stop", "length", "cancelled", "deadline", "error" or "closed"."""
        cdef ox_finish_reason reason = request_finish_reason(self.request)
        return None if reason == OX_FINISH_NONE else FINISH_REASONS[reason]

    @property
    def fault(self):
        """Of a request that ended with "error": "numerical", "no_token", "dead_end", "constraint", "memory", "too_long"
        or a number."""
        return FAULTS.get(self.request.status, str(self.request.status))

    @property
    def stop(self):
        """Of a finished request: the index of the stop string, ("token", id), or None for the model's own end."""
        if self.output.stop_kind == OX_STOP_STRING:
            return self.output.stop_value
        if self.output.stop_kind == OX_STOP_TOKEN:
            return "token", self.output.stop_value
        return None

    @property
    def times(self):
        """Seconds on the monotonic clock: submit, first scheduled, prefill end, first token, end; 0.0 where not yet."""
        return (self.request.arrival_ns / 1e9, self.request.start_ns / 1e9, self.request.prefill_end_ns / 1e9,
                self.request.first_token_ns / 1e9, self.request.end_ns / 1e9)

    def wait(self, double timeout):
        """Sleeps without the GIL until there is something to take, the request has finished, or `timeout` seconds."""
        cdef int64_t timeout_ns = <int64_t>(timeout * 1e9)
        with nogil:
            output_wait(self.output, self.request, self._num_taken, timeout_ns)

    def attach(self, Mailbox mailbox not None):
        """Posts the mailbox too when there is something to take. Look for updates afterwards."""
        if not output_attach(self.output, mailbox.c):
            raise RuntimeError("the request is already awaited in another event loop")

    def has_update(self):
        return (ox_load_acquire_i32(&self.output.num_published) > self._num_taken
                or (not self._finish_taken and request_finish_reason(self.request) != OX_FINISH_NONE))

    def take(self):
        """What was generated since the last call: (list of TokenEvent, text after the last token, finished)."""
        # The reason first: once it is there, everything else is final.
        cdef bint finished = request_finish_reason(self.request) != OX_FINISH_NONE
        cdef int32_t i, n = ox_load_acquire_i32(&self.output.num_published)
        cdef list events = []
        cdef str rest = ""
        for i in range(self._num_taken, n):
            events.append(self._event(i))
        self._num_taken = n
        if finished and not self._finish_taken:
            self._finish_taken = True
            rest = self._text(self.output.text_length)
        return events, rest, finished

    def logits(self):
        """float32 [n prompt, n_vocab] of a finished evaluation that keeps its logits."""
        cdef Py_ssize_t width = self.worker.c.n_vocab, n = self.request.n_prompt
        if self.output.rows == NULL:
            raise ValueError("the request keeps no logits")
        out = np.empty((n, width), dtype=np.float32)
        cdef float[:, ::1] view = out
        memcpy(&view[0, 0], self.output.rows, n * width * sizeof(float))
        return out

    @property
    def has_prompt_logprobs(self):
        """Was the prompt to be scored, and has all of it been?"""
        return self.output.scores != NULL and (self.num_published > 0 or (
            request_finish_reason(self.request) in (OX_FINISH_STOP, OX_FINISH_LENGTH)))

    def prompt_logprobs(self):
        """float32 [n prompt] of a scored prompt: of each token given those before it; the first is NaN."""
        cdef ox_prompt_scores *scores = self._scores()
        out = np.empty(scores.n_prompt, dtype=np.float32)
        cdef float[::1] view = out
        memcpy(&view[0], scores.logprobs, scores.n_prompt * sizeof(float))
        return out

    def prompt_events(self):
        """A scored prompt as a list of TokenEvent without text."""
        cdef ox_prompt_scores *scores = self._scores()
        cdef int32_t i
        cdef list events = []
        for i in range(scores.n_prompt):
            events.append(TokenEvent(self.request.tokens[i], "", scores.logprobs[i],
                                     alternatives(scores.top_ids, scores.top_logprobs, i, scores.n_top)))
        return events

    cdef ox_prompt_scores *_scores(self) except NULL:
        if not self.has_prompt_logprobs:
            raise ValueError("the request has no scored prompt")
        return self.output.scores

    def embedding(self):
        """The float32 result of a finished embedding: [dimensions], or [n tokens, dimensions] without pooling."""
        if self.output.pooling == NULL:
            raise ValueError("the request is no embedding")
        cdef Py_ssize_t n = self.output.pooling.n_rows, width = self.output.pooling.dimensions
        out = np.empty((n, width), dtype=np.float32)
        cdef float[:, ::1] view = out
        memcpy(&view[0, 0], self.output.pooling.rows, n * width * sizeof(float))
        return out if self.output.pooling.kind == OX_POOLING_NONE else out[0]

    cdef _event(self, int32_t i):
        cdef double logprob = NAN
        cdef tuple top = ()
        if self.output.n_logprobs >= 0:
            logprob = self.output.logprobs[i]
            top = alternatives(self.output.top_ids, self.output.top_logprobs, i, self.output.n_logprobs)
        return TokenEvent(self.request.tokens[self.request.n_prompt + i], self._text(self.output.text_ends[i]), logprob,
                          top)

    cdef str _text(self, int64_t end):
        cdef const char *text = <const char *>ox_load_acquire_ptr(&self.output.text_buffer)
        cdef int64_t start = self._text_taken
        self._text_taken = end
        return text[start:end].decode("utf-8")

    def __repr__(self):
        return (f"<Handle {self.request.id}: {self.request.n_prompt} prompt tokens, {self.num_published} generated, "
                f"{self.finish_reason or 'running'}>")


cdef tuple alternatives(const int32_t *ids, const float *logprobs, size_t row, int32_t n):
    """Row `row` of [rows][n] as pairs."""
    cdef int32_t j
    cdef list found = []
    for j in range(n):
        if ids[row * n + j] >= 0:
            found.append((ids[row * n + j], logprobs[row * n + j]))
    return tuple(found)


def submit(Worker worker not None, list handles, Waiter waiter=None):
    """Hands all of them to the worker, or none: ACCEPTED, QUEUE_FULL or CLOSED.

    With a waiter they enter when it is granted, which uses it up."""
    cdef Py_ssize_t i, n = len(handles)
    cdef ox_status status
    cdef Handle handle
    cdef ox_request **requests = <ox_request **>malloc(max(n, 1) * sizeof(ox_request *))
    if requests == NULL:
        raise MemoryError("no memory to submit")
    for i in range(n):
        handle = handles[i]
        requests[i] = request_ref(handle.request)
    if waiter is None:
        status = ring_submit(worker.c.ring, requests, <int32_t>n)
    elif waiter_use(&waiter.c):
        status = ring_submit_counted(worker.c.ring, requests, <int32_t>n)
    else:
        status = OX_CLOSED if ox_load_acquire_i32(&worker.c.ring.closed) else OX_QUEUE_FULL
    if status != OX_OK:
        for i in range(n):
            request_unref(requests[i])
    free(requests)
    return status
