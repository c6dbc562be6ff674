"""Drafts of running requests, before a step is planned: from constraints, drafters of requests, and a draft model."""

from libc.stdint cimport int32_t

from oxillama._core.scheduling.draft_model cimport ox_draft_model
from oxillama._core.scheduling.row_costs cimport ox_row_costs
from oxillama._core.scheduling.scheduler cimport ox_scheduler

# Lets constraints say what must come next, then drafters of running requests guess, then the draft model (or NULL).
cdef void propose_drafts(ox_scheduler *s, ox_row_costs *costs, ox_draft_model *draft_model,
                         int32_t n_vocab) noexcept nogil
