"""A tokenizer in C: always the longest token that the text begins with.

Grammars ask for it wherever they force bytes, in the middle of a mask, so it must need no GIL. It is not the model's
own encoder: where both differ, a forced text is cut into other tokens than the model has been trained on.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from oxillama._core.atomics cimport ox_atomic_i32
from oxillama._core.output.vocab cimport TokenView

cdef enum:
    # Bytes of a text that are looked at: no more than the first token of it is ever forced, and few others are drafted.
    OX_MATCH_WINDOW = 4096

# Reference-counted; threads may share it.
ctypedef struct ox_longest_match:
    ox_atomic_i32 num_references
    int32_t n_tokens
    int32_t unwritable           # stands for a byte that no token begins with
    uint32_t mask
    uint8_t *blob                # as in TokenView
    uint32_t *offsets            # [n_tokens + 1]
    int32_t *slots               # [mask + 1]: open addressing, -1: free
    uint16_t *longest            # [65536]: bytes of the longest token that begins with these two; at most 65535

# special: [n_tokens], not 0 for tokens that no text is made of. NULL when memory is short.
cdef ox_longest_match *longest_match_create(const TokenView *view, const uint8_t *special,
                                            int32_t unwritable) noexcept nogil
cdef ox_longest_match *longest_match_ref(ox_longest_match *match) noexcept nogil
cdef void longest_match_unref(ox_longest_match *match) noexcept nogil
# llguidance's LlgTokenizeFn: writes up to n_tokens tokens, returns how many there are.
cdef size_t longest_match_tokenize(const void *match, const uint8_t *text, size_t n_bytes, uint32_t *tokens,
                                   size_t n_tokens) noexcept nogil
