"""How likely the model finds each token of a prompt, and what it would rather have seen.

Memory is a few numbers per token, whatever the size of the vocabulary."""

from libc.stdint cimport int32_t

from oxillama._core.atomics cimport ox_atomic_i32
from oxillama._core.network.kernels cimport ox_kernels

# Natural log-probabilities. Entry i belongs to token i given those before it; nothing predicts token 0.
ctypedef struct ox_prompt_scores:
    int32_t n_prompt
    int32_t n_top                # alternatives per token
    float *logprobs              # [n_prompt]
    int32_t *top_ids             # [n_prompt][n_top], best first, lowest id first among equals
    float *top_logprobs          # [n_prompt][n_top]
    ox_atomic_i32 is_broken      # some row of logits was not finite

# NULL when memory is short. All entries are NaN, and their ids -1.
cdef ox_prompt_scores *prompt_scores_create(int32_t n_prompt, int32_t n_top) noexcept nogil
# NULL is allowed.
cdef void prompt_scores_destroy(ox_prompt_scores *scores) noexcept nogil
# Scores the token that follows `position`, given the logits [n_vocab] there. Rows may be taken by several threads at
# once, and again: the same logits leave the same entry.
cdef void prompt_scores_add(ox_prompt_scores *scores, const ox_kernels *kernels, const int32_t *tokens,
                            int32_t position, const float *logits, int32_t n_vocab) noexcept nogil
