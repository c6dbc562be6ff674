"""Drafts from a text that the caller expects: what follows in it where the output stands.

As long as the output writes the expected text, the place is known; after a difference it is where the longest run of
last tokens of the output stands, of equal ones the nearest behind the former place."""

from libc.stdint cimport int32_t

from oxillama._core.request cimport ox_drafter

# tokens: [n], copied. beside: asked where the text says nothing, or NULL; owned, also when the answer is NULL, for want
# of memory.
cdef ox_drafter *prediction_create(const int32_t *tokens, int32_t n, ox_drafter *beside) noexcept nogil
