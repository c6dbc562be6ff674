"""Which tokens may come next: the contract between a request and whatever holds its output to a form.

A constraint is a struct of functions in front of its own state, made before the request is submitted and destroyed with
it. One thread at a time calls it, never with the GIL, but not always the same thread. docs/design/constraint.md says
when. Nothing here depends on the rest of the core, so a module of somebody else's can bring a constraint.
"""

from libc.stdint cimport int32_t, uint32_t

cdef enum ox_constraint_status:
    OX_CONSTRAINT_OPEN = 0       # something may follow
    OX_CONSTRAINT_COMPLETE = 1   # only the end may follow
    OX_CONSTRAINT_DEAD = 2       # nothing may follow, and the output is not complete
    OX_CONSTRAINT_FAILED = 3     # a limit of the constraint's own was hit, or its memory is short

cdef enum:
    OX_MAX_MASKS = 17            # of a step: the next token's, and one behind each draft

# The rows of bits of a step, and how far the constraint is ahead of the output. The core's own; all zero at first.
ctypedef struct ox_masks:
    uint32_t *bits               # [n_rows][n_words]: bit (id % 32) of word (id / 32) is set where the token is allowed
    int32_t n_words
    int32_t n_rows               # that there is memory for
    int32_t n_ready              # of these, that hold the masks of the positions from `position` on
    int32_t position             # of the output
    int32_t n_ahead              # drafts that were accepted and not yet drawn
    int32_t n_drawn              # of them that have been drawn since
    int32_t[OX_MAX_MASKS] drafts                    # [n_ahead]
    ox_constraint_status[OX_MAX_MASKS] accepted     # [n_ahead]: what accept() said of them
    ox_constraint_status[OX_MAX_MASKS] status       # [n_ready]

cdef struct ox_constraint

cdef struct ox_constraint:
    # Begins to write which tokens may stand at this position of the output, which is how many were accepted. mask:
    # words for the model's n_vocab tokens, whatever is in them before; bits beyond are not looked at. The
    # end-of-generation tokens are allowed where the output is complete. May do all of it at once.
    void (*mask_begin)(ox_constraint *self, int32_t position, uint32_t *mask) noexcept nogil
    # Returns when the mask is written. With another status than OX_CONSTRAINT_OPEN it is not read.
    ox_constraint_status (*mask_wait)(ox_constraint *self) noexcept nogil
    # The token, which the last mask allowed, stands at the next position. Whatever this says, rollback() takes it back.
    # Tokens that end the output are not accepted.
    ox_constraint_status (*accept)(ox_constraint *self, int32_t token) noexcept nogil
    # Takes the last n accepted tokens back. OX_CONSTRAINT_FAILED where that is impossible: the request ends.
    ox_constraint_status (*rollback)(ox_constraint *self, int32_t n) noexcept nogil
    # Writes up to `most` tokens that will have to follow; returns how many. They are drafts: some may be wrong. NULL:
    # none are ever known.
    int32_t (*forced)(ox_constraint *self, int32_t *tokens, int32_t most) noexcept nogil
    void (*destroy)(ox_constraint *self) noexcept nogil
    ox_masks masks

# What the core does with it.

# Computes the masks of the positions from `position` on, one more than there are drafts, as far as the drafts are
# allowed. Masks that are there already are kept.
cdef void constraint_prepare(ox_constraint *constraint, int32_t n_vocab, int32_t position, const int32_t *drafts,
                             int32_t n_drafts) noexcept nogil
# The mask of this position, with OX_CONSTRAINT_OPEN. NULL with OX_CONSTRAINT_OPEN: none was prepared, for it is behind
# drafts that were not allowed, or memory was short; with another status, what became of it.
cdef const uint32_t *constraint_mask(ox_constraint *constraint, int32_t position,
                                     ox_constraint_status *status) noexcept nogil
# The token that was drawn at this position.
cdef ox_constraint_status constraint_take(ox_constraint *constraint, int32_t token) noexcept nogil
# The item is over: takes back what was accepted ahead of the output. Masks of the output's end are kept.
cdef ox_constraint_status constraint_settle(ox_constraint *constraint) noexcept nogil
# Frees the masks, then destroys the constraint. NULL is allowed.
cdef void constraint_destroy(ox_constraint *constraint) noexcept nogil

# The token of a mask of one bit, else -1.
cdef int32_t mask_only_token(const uint32_t *mask, int32_t n_vocab) noexcept nogil
# Does it allow none but these tokens, of which it allows at least one?
cdef bint mask_is_within(const uint32_t *mask, int32_t n_vocab, const int32_t *tokens, int32_t n_tokens) noexcept nogil


# A constraint on its way to the request that will own it. Subclasses fill `c` in and raise what is wrong.
cdef class Constraint:
    cdef ox_constraint *c
    # Hands it over, once.
    cdef ox_constraint *release(self) except NULL
