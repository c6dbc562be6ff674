"""From one row of logits to one token, without Python and without allocation."""

from libc.stdint cimport int32_t, uint32_t

from oxillama._core.sampling.candidates cimport ox_candidates
from oxillama._core.sampling.penalties cimport ox_history
from oxillama._core.sampling.parameters cimport ox_sampling

cdef enum:
    OX_MAX_LOGPROBS = 20

cdef enum ox_sample_status:
    OX_SAMPLE_OK = 0
    OX_SAMPLE_NOT_FINITE = 1  # a logit is NaN or infinite
    OX_SAMPLE_NO_TOKEN = 2  # every token is banned
    OX_SAMPLE_NO_STATE = 3  # mirostat without state
    OX_SAMPLE_HISTORY = 4  # a history window longer than the working memory was made for
    OX_SAMPLE_VOCAB = 5  # the working memory was made for another vocabulary

ctypedef struct ox_sample_result:
    int32_t token  # -1 unless the status is OX_SAMPLE_OK
    int32_t n_top
    float logprob  # of token; NaN where no logprobs were asked for
    int32_t[OX_MAX_LOGPROBS] top_tokens  # [n_top], best first
    float[OX_MAX_LOGPROBS] top_logprobs

# Draw one token. logits: [n_vocab], only read. position: generated tokens before this one, which is history.n_output
# in a running request. mask: see penalties.pxd, or NULL. mirostat_mu: the state of the sequence, starting at
# 2 * mirostat_tau, advanced by the draw; NULL where mirostat is off. Logprobs are the log-softmax of the raw logits.
# The answer depends on the arguments alone: not on what the working memory was used for before.
cdef int ox_sample(const ox_sampling* sampling, ox_candidates* memory, const float* logits, int n_vocab,
                   const ox_history* history, uint32_t choice, uint32_t position, const uint32_t* mask,
                   double* mirostat_mu, ox_sample_result* result) noexcept nogil


cdef class SamplerMemory:
    cdef ox_candidates* memory  # owned
