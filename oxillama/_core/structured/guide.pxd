"""The contract of a constraint, filled by llguidance's C functions: no Python object, no GIL."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t

from oxillama._core.atomics cimport ox_atomic_i32
from oxillama._core.constraint cimport Constraint, ox_constraint, ox_constraint_status
from oxillama._core.structured.llguidance cimport Library, llg_functions
from oxillama._core.structured.longest_match cimport ox_longest_match

# A compiled grammar before its first token. Reference-counted, never advanced.
ctypedef struct ox_compiled:
    ox_atomic_i32 num_references
    const llg_functions *f
    void *matcher
    ox_longest_match *match      # what llguidance calls for the tokenizer of the matcher

# A sequence on its way through a grammar.
ctypedef struct ox_guide:
    ox_constraint base
    const llg_functions *f
    ox_compiled *compiled
    void *matcher
    size_t n_mask_bytes          # of llguidance's masks, which have one token more than the model
    size_t n_row_bytes           # of the core's
    uint32_t *scratch            # [n_mask_bytes / 4] where these differ, else NULL
    ox_constraint_status status  # of the mask that was begun last
    int32_t *tokens              # [n_tokens], room for max_tokens: what was accepted
    int32_t n_tokens
    int32_t max_tokens

cdef class GuideVocabulary:
    cdef const llg_functions *f
    cdef void *tokenizer
    cdef ox_longest_match *match
    cdef int32_t n_vocab

cdef class CompiledGrammar:
    cdef GuideVocabulary vocabulary
    cdef ox_compiled *compiled

cdef class Guide(Constraint):
    pass
