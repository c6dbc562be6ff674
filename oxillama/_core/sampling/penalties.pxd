"""The stages that change single logits before anything is cut: bans, bias, grammar mask, repetition, DRY."""

from libc.stdint cimport int32_t, uint32_t

from oxillama._core.sampling.candidates cimport ox_candidates
from oxillama._core.sampling.parameters cimport ox_sampling

# The tokens so far. Ids that the vocabulary does not have match nothing.
ctypedef struct ox_history:
    const int32_t* prompt  # [n_prompt]
    const int32_t* output  # [n_output]
    int32_t n_prompt
    int32_t n_output

# Whether any of these stages has something to do at this position; if not, the logits need no copy.
cdef bint ox_edits_logits(const ox_sampling* sampling, const ox_history* history, uint32_t position,
                          const uint32_t* mask) noexcept nogil

# Whether bans and bias leave the token, whatever the logits.
cdef bint ox_is_banned(const ox_sampling* sampling, uint32_t position, int32_t token) noexcept nogil

# Apply them all to candidates.edited, [n_vocab], in the documented order. mask: bit (id % 32) of word (id / 32) set
# means allowed; NULL allows all. A banned token becomes -infinity and stays it; every other value stays finite.
# Returns False if the history window of DRY is longer than candidates.n_history.
cdef bint ox_edit_logits(ox_candidates* candidates, const ox_sampling* sampling, const ox_history* history,
                         uint32_t position, const uint32_t* mask) noexcept nogil
