"""From the hidden states of a prompt to its embedding: row by row, in ascending order, in constant memory."""

from libc.stdint cimport int32_t

# The numbers of GGUF's pooling_type.
cdef enum ox_pooling_kind:
    OX_POOLING_NONE = 0   # a row per token
    OX_POOLING_MEAN = 1
    OX_POOLING_CLS = 2    # the first token's
    OX_POOLING_LAST = 3   # the last token's
    OX_POOLING_RANK = 4   # the scores of a classifier, for the first token
    # And of ours:
    OX_POOLING_RANK_LAST = 5  # for the last token

ctypedef struct ox_pooling:
    ox_pooling_kind kind
    int32_t n_prompt
    int32_t dimensions     # of the hidden state that are kept
    bint normalize         # to length 1, after the cut
    int32_t n_rows         # of the result
    double *sum            # [dimensions]
    float *rows            # [n_rows][dimensions]: the result

# NULL when memory is short.
cdef ox_pooling *pooling_create(ox_pooling_kind kind, int32_t n_prompt, int32_t dimensions,
                                bint normalize) noexcept nogil
# NULL is allowed.
cdef void pooling_destroy(ox_pooling *pooling) noexcept nogil
# Positions [first, end) of the prompt: the hidden states, or the scores, that are read.
cdef void pooling_span(const ox_pooling *pooling, int32_t *first, int32_t *end) noexcept nogil
# Is it made of a classifier's scores, rather than of hidden states?
cdef bint pooling_ranks(const ox_pooling *pooling) noexcept nogil
# The hidden state, or the scores, of a token of the span. Positions ascend; 0 begins anew. False: it is not finite.
cdef bint pooling_add(ox_pooling *pooling, int32_t position, const float *hidden) noexcept nogil
