"""Drafts from the request's own text: what followed when its last tokens stood there before.

A. Saxena, "Prompt Lookup Decoding" (2023). The index chains all places where the same three tokens end, as in DEFLATE
(RFC 1951, section 4): a token is added in constant time, and a search walks a bounded part of a chain."""

from libc.stdint cimport int32_t

from oxillama._core.request cimport ox_drafter

# For a request of at most n_tokens of prompt and output. NULL when memory is short.
cdef ox_drafter *prompt_lookup_create(int32_t n_tokens) noexcept nogil
