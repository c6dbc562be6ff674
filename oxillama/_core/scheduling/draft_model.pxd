"""A small model that guesses for a large one: its keys and values lie in the same block numbers, in its own arena.

Between two steps it computes what it has not seen of the sequences that write, then draws a few tokens of each, all of
them in one batch, with the random numbers that the large model will draw with. What it guesses is verified like any
draft, so nothing here can change a result."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from oxillama._core.network.executor cimport ox_program, ox_run
from oxillama._core.request cimport ox_request
from oxillama._core.sampling.candidates cimport ox_candidates
from oxillama._core.scheduling.row_costs cimport ox_row_costs
from oxillama._core.scheduling.scheduler cimport ox_scheduler

cdef enum:
    OX_MOST_GUESSED = 8  # of a sequence at a time

# What is known of the sequence in a slot.
ctypedef struct ox_draft_place:
    uint64_t sequence      # plus one, of the request it was; 0: of nobody
    int32_t num_preemptions
    int32_t n_computed     # positions, those of former drafts included:
    int32_t n_true         # from this one on they hold what was guessed,
    int32_t guesses[OX_MOST_GUESSED]  # these tokens
    int32_t tail           # number of the block that the last of them lies in,
    int32_t tail_block     # and that block
    double chance          # of a draft to be right
    int32_t n_accepted     # of the request when the last drafts were made
    int32_t n_rejected
    int32_t n_drafts       # of this round
    double mirostat_mu     # behind the drafts that have been drawn
    ox_request *request

ctypedef struct ox_draft_model:
    ox_program *program
    int32_t n_vocab        # of the large model
    int32_t n_ctx          # positions that the small one knows
    int32_t max_batch_size
    int32_t *tokens        # [max_tokens of the program]
    int32_t *output_rows   # [max_batch_size]
    ox_run *runs           # [max_batch_size]
    ox_draft_place *places    # [max_batch_size], by slot
    ox_draft_place **drafting  # [max_batch_size]: who takes part in a pass
    int32_t *steps         # [max_batch_size]: tokens that each of them has in it
    uint64_t *written      # [blocks]: hash of all tokens up to a block's end, if that is what lies in it; else 0
    float *logits          # [n_vocab], where the small one has fewer
    ox_candidates *memory
    double pass_ns         # of a pass that draws, a moving average
    int32_t is_eager       # for tests: rows cost nothing, whatever was measured

# NULL when memory is short. The program outlives it.
cdef ox_draft_model *draft_model_create(ox_program *program, int32_t n_vocab, int32_t n_ctx, int32_t max_batch_size,
                                        int32_t n_blocks) noexcept nogil
cdef void draft_model_destroy(ox_draft_model *d) noexcept nogil
# Writes drafts behind the known tokens of running requests that have none. n_rows: that the step has so far.
cdef void draft_model_propose(ox_draft_model *d, ox_scheduler *s, ox_row_costs *costs, int32_t n_rows) noexcept nogil
