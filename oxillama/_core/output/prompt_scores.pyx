"""Log-probabilities of prompt tokens and the best alternatives, a row of logits at a time."""

from libc.math cimport NAN, isfinite
from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free, malloc

from oxillama._core.atomics cimport ox_store_relaxed_i32


cdef ox_prompt_scores *prompt_scores_create(int32_t n_prompt, int32_t n_top) noexcept nogil:
    cdef size_t i, n = <size_t>n_prompt, n_tops = <size_t>n_prompt * n_top
    cdef ox_prompt_scores *scores = <ox_prompt_scores *>calloc(1, sizeof(ox_prompt_scores))
    if scores == NULL:
        return NULL
    scores.n_prompt = n_prompt
    scores.n_top = n_top
    scores.logprobs = <float *>malloc(n * sizeof(float))
    scores.top_ids = <int32_t *>malloc(max(n_tops, 1) * sizeof(int32_t))
    scores.top_logprobs = <float *>malloc(max(n_tops, 1) * sizeof(float))
    if scores.logprobs == NULL or scores.top_ids == NULL or scores.top_logprobs == NULL:
        prompt_scores_destroy(scores)
        return NULL
    for i in range(n):
        scores.logprobs[i] = NAN
    for i in range(n_tops):
        scores.top_ids[i] = -1
        scores.top_logprobs[i] = NAN
    return scores


cdef void prompt_scores_destroy(ox_prompt_scores *scores) noexcept nogil:
    if scores != NULL:
        free(scores.logprobs)
        free(scores.top_ids)
        free(scores.top_logprobs)
        free(scores)


cdef void prompt_scores_add(ox_prompt_scores *scores, const ox_kernels *kernels, const int32_t *tokens,
                            int32_t position, const float *logits, int32_t n_vocab) noexcept nogil:
    cdef int32_t i, n, entry = position + 1
    cdef double log_sum
    cdef int32_t *ids
    if entry >= scores.n_prompt:
        return
    log_sum = kernels.log_sum_exp(n_vocab, logits)
    if not isfinite(log_sum):
        ox_store_relaxed_i32(&scores.is_broken, 1)
        return
    scores.logprobs[entry] = <float>(logits[tokens[entry]] - log_sum)
    if scores.n_top > 0:
        ids = scores.top_ids + <size_t>entry * scores.n_top
        n = find_best(logits, n_vocab, scores.n_top, ids)
        for i in range(n):
            scores.top_logprobs[<size_t>entry * scores.n_top + i] = <float>(logits[ids[i]] - log_sum)


cdef int32_t find_best(const float *logits, int32_t n_vocab, int32_t n_top, int32_t *ids) noexcept nogil:
    # Ascending ids and a strict comparison leave the lowest id first among equals.
    cdef int32_t i, place, n = 0
    for i in range(n_vocab):
        if n == n_top and not logits[i] > logits[ids[n - 1]]:
            continue
        if n < n_top:
            n += 1
        place = n - 1
        while place > 0 and logits[i] > logits[ids[place - 1]]:
            ids[place] = ids[place - 1]
            place -= 1
        ids[place] = i
    return n
