"""What a request has produced so far: tokens, text, logprobs, and how readers learn of it."""

from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from oxillama._core.atomics cimport (
    ox_compare_exchange_seq_cst_ptr,
    ox_fetch_add_seq_cst_i32,
    ox_load_acquire_ptr,
    ox_load_relaxed_ptr,
    ox_load_seq_cst_i32,
    ox_load_seq_cst_ptr,
    ox_store_release_i32,
    ox_store_release_ptr,
)
from oxillama._core.scheduling.mailbox cimport mailbox_post, mailbox_ref, mailbox_unref
from oxillama._core.parking cimport (
    ox_parking_destroy,
    ox_parking_init,
    ox_parking_lock,
    ox_parking_unlock,
    ox_parking_wait,
    ox_parking_wake_all,
)
from oxillama._core.network.pooling cimport pooling_destroy
from oxillama._core.output.prompt_scores cimport prompt_scores_destroy
from oxillama._core.request cimport OX_FINISH_NONE, request_finish_reason
from oxillama._core.output.text_stream cimport finish_text, push_token

cdef enum:
    FIRST_TEXT_BUFFER = 1024  # bytes


cdef ox_output *output_create(int32_t max_output, int32_t n_logprobs, int32_t min_tokens, TextStream stream):
    cdef ox_output *output = <ox_output *>calloc(1, sizeof(ox_output))
    cdef size_t n = max(max_output, 1)
    if output == NULL:
        return NULL
    if ox_parking_init(&output.parking) != 0:
        free(output)
        return NULL
    output.max_output = max_output
    output.n_logprobs = n_logprobs
    output.min_tokens = min_tokens
    # Not touched before they are written, so an unbounded request costs address space, not memory.
    output.text_ends = <int64_t *>malloc(n * sizeof(int64_t))
    if n_logprobs >= 0:
        output.logprobs = <float *>malloc(n * sizeof(float))
        output.top_ids = <int32_t *>malloc(n * max(n_logprobs, 1) * sizeof(int32_t))
        output.top_logprobs = <float *>malloc(n * max(n_logprobs, 1) * sizeof(float))
    output.buffers[0] = malloc(FIRST_TEXT_BUFFER)
    output.n_buffers = 1
    output.text_capacity = FIRST_TEXT_BUFFER
    ox_store_release_ptr(&output.text_buffer, output.buffers[0])
    if stream is not None:
        output.has_text = True
        output.piece = <uint8_t *>malloc(stream.capacity)
        output.text_memory = stream.surrender(&output.text)
        output.text.is_early = min_tokens > 0
    if (output.text_ends == NULL or output.buffers[0] == NULL or (output.has_text and output.piece == NULL)
            or (n_logprobs >= 0
                and (output.logprobs == NULL or output.top_ids == NULL or output.top_logprobs == NULL))):
        output_destroy(output)
        return NULL
    return output


cdef bint output_attach(ox_output *output, ox_mailbox *mailbox) noexcept nogil:
    cdef void *expected = NULL
    if ox_load_acquire_ptr(&output.mailbox) == mailbox:
        return True
    mailbox_ref(mailbox)
    if ox_compare_exchange_seq_cst_ptr(&output.mailbox, &expected, mailbox):
        # Before or after the same in output_wake(): then either it finds the mailbox, or the reader what was published.
        ox_fetch_add_seq_cst_i32(&output.num_sleeping, 0)
        return True
    mailbox_unref(mailbox)
    return expected == mailbox


cdef bint output_keep_logits(ox_output *output, int32_t n_prompt, int32_t n_vocab) noexcept nogil:
    output.rows = <float *>malloc(<size_t>n_prompt * n_vocab * sizeof(float))
    return output.rows != NULL


cdef void output_destroy(void *object) noexcept nogil:
    cdef ox_output *output = <ox_output *>object
    cdef int32_t i
    if output == NULL:
        return
    for i in range(output.n_buffers):
        free(output.buffers[i])
    free(output.text_ends)
    free(output.logprobs)
    free(output.top_ids)
    free(output.top_logprobs)
    free(output.text_memory)
    free(output.piece)
    free(output.rows)
    prompt_scores_destroy(output.scores)
    pooling_destroy(output.pooling)
    mailbox_unref(<ox_mailbox *>ox_load_acquire_ptr(&output.mailbox))
    ox_parking_destroy(&output.parking)
    free(output)


cdef int append_text(ox_output *output, int64_t n_bytes) noexcept nogil:
    """Moves `n_bytes` from `piece` to the end of the text. Returns -1 without memory."""
    cdef void *buffer = ox_load_relaxed_ptr(&output.text_buffer)
    cdef void *larger
    cdef int64_t capacity = output.text_capacity
    while output.text_length + n_bytes > capacity:
        capacity *= 2
    if capacity > output.text_capacity:
        larger = NULL if output.n_buffers == OX_MAX_TEXT_BUFFERS else malloc(capacity)
        if larger == NULL:
            return -1
        memcpy(larger, buffer, output.text_length)
        # A reader may still be in the old buffer.
        output.buffers[output.n_buffers] = larger
        output.n_buffers += 1
        output.text_capacity = capacity
        ox_store_release_ptr(&output.text_buffer, larger)
        buffer = larger
    memcpy(<uint8_t *>buffer + output.text_length, output.piece, n_bytes)
    output.text_length += n_bytes
    return 0


cdef int output_text(ox_output *output, int32_t n_output, int32_t token) noexcept nogil:
    if not output.has_text:
        return 0
    if output.text.is_early and n_output >= output.min_tokens:
        output.text.is_early = False
    if append_text(output, push_token(&output.text, token, output.piece)) < 0:
        return -1
    if output.text.ended:
        output.stop_kind = OX_STOP_STRING
        output.stop_value = output.text.stop_index
        return 1
    return 0


cdef int output_flush(ox_output *output) noexcept nogil:
    cdef int status
    if not output.has_text or output.text.ended:
        return 0
    status = append_text(output, finish_text(&output.text, output.piece))
    if output.text.stop_index >= 0:
        # A stop string that waited for a rival which can no longer be completed.
        output.stop_kind = OX_STOP_STRING
        output.stop_value = output.text.stop_index
    return status


cdef void output_publish(ox_output *output, int32_t n) noexcept nogil:
    ox_store_release_i32(&output.num_published, n)


cdef void output_wake(ox_output *output) noexcept nogil:
    # seq_cst against output_wait() and output_attach(): either the reader sees what was stored before, or this sees the
    # reader.
    if ox_fetch_add_seq_cst_i32(&output.num_sleeping, 0) > 0:
        ox_parking_lock(&output.parking)
        ox_parking_wake_all(&output.parking)
        ox_parking_unlock(&output.parking)
    cdef ox_mailbox *mailbox = <ox_mailbox *>ox_load_seq_cst_ptr(&output.mailbox)
    if mailbox != NULL:
        mailbox_post(mailbox)


cdef void output_wait(ox_output *output, ox_request *request, int32_t n, int64_t timeout_ns) noexcept nogil:
    ox_parking_lock(&output.parking)
    ox_fetch_add_seq_cst_i32(&output.num_sleeping, 1)
    if ox_load_seq_cst_i32(&output.num_published) <= n and request_finish_reason(request) == OX_FINISH_NONE:
        ox_parking_wait(&output.parking, timeout_ns)
    ox_fetch_add_seq_cst_i32(&output.num_sleeping, -1)
    ox_parking_unlock(&output.parking)
