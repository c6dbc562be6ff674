"""What a request has produced so far. One writer (the worker), any number of readers, no lock between them.

The writer fills the arrays behind `num_published`, then stores it with release; a reader that loads it with acquire may
read everything before it. Text grows by moving to a larger buffer; the old ones stay until the request is freed."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from oxillama._core.atomics cimport ox_atomic_i32, ox_atomic_ptr
from oxillama._core.scheduling.mailbox cimport ox_mailbox
from oxillama._core.parking cimport ox_parking
from oxillama._core.network.pooling cimport ox_pooling
from oxillama._core.output.prompt_scores cimport ox_prompt_scores
from oxillama._core.request cimport ox_request
from oxillama._core.output.text_stream cimport TextStream, TextStreamState

cdef enum ox_stop_kind:
    OX_STOP_NONE = 0
    OX_STOP_END = 1          # an end-of-generation token of the model
    OX_STOP_TOKEN = 2        # one of the request's stop_token_ids; stop_value is the id
    OX_STOP_STRING = 3       # one of the request's stop strings; stop_value is its index

cdef enum:
    OX_MAX_TEXT_BUFFERS = 48

ctypedef struct ox_output:
    # --- set by the creator
    int32_t max_output
    int32_t n_logprobs           # alternatives per token; -1: no logprobs at all
    int32_t min_tokens           # stop strings are looked for from here on
    uint32_t choice              # of n: part of what the random numbers are drawn from
    bint has_text                # the model has a tokenizer
    TextStreamState text
    void *text_memory
    uint8_t *piece               # room for one push
    # --- written by the worker
    ox_atomic_i32 num_published  # tokens
    ox_atomic_ptr text_buffer
    int64_t text_capacity
    int64_t text_length          # bytes; final once the request has finished
    int64_t *text_ends           # [max_output]: bytes of text certain after each token
    float *logprobs              # [max_output]
    int32_t *top_ids             # [max_output][n_logprobs]
    float *top_logprobs          # [max_output][n_logprobs]
    ox_stop_kind stop_kind
    int32_t stop_value
    double mirostat_mu           # state of mirostat, which alone of all stages has one
    int32_t n_buffers
    void *buffers[OX_MAX_TEXT_BUFFERS]
    # --- evaluation of a prompt
    float *rows                  # [n_prompt][n_vocab]: the logits of an OX_REQUEST_EVALUATE, or NULL
    ox_prompt_scores *scores     # of an OX_REQUEST_EVALUATE or of scores_prompt, or NULL; owned
    ox_pooling *pooling          # of an OX_REQUEST_EMBED, or NULL; owned
    # --- readers that sleep
    ox_atomic_ptr mailbox        # of the consumer's event loop; set once, by output_attach()
    ox_atomic_i32 num_sleeping
    ox_parking parking

# Takes the stream's memory. NULL when memory is short.
cdef ox_output *output_create(int32_t max_output, int32_t n_logprobs, int32_t min_tokens, TextStream stream)
# Reader: from now on the mailbox is posted as well. Look for updates afterwards. False if another one is attached.
cdef bint output_attach(ox_output *output, ox_mailbox *mailbox) noexcept nogil
# Room for the logits of a prompt. False when memory is short.
cdef bint output_keep_logits(ox_output *output, int32_t n_prompt, int32_t n_vocab) noexcept nogil
cdef void output_destroy(void *output) noexcept nogil

# Writer: text of a token that is not an end token. Returns 1 when a stop string ended the text, -1 without memory.
cdef int output_text(ox_output *output, int32_t n_output, int32_t token) noexcept nogil
# Writer: the text that was held back.
cdef int output_flush(ox_output *output) noexcept nogil
# Writer: makes the first `n` tokens visible.
cdef void output_publish(ox_output *output, int32_t n) noexcept nogil
# Writer: wakes whoever waits for this request. After publishing, and after the request's finish reason is stored.
cdef void output_wake(ox_output *output) noexcept nogil

# Reader: sleeps until more than `n` tokens are published, the request has finished, or timeout_ns passed.
cdef void output_wait(ox_output *output, ox_request *request, int32_t n, int64_t timeout_ns) noexcept nogil
