"""The C functions of llguidance, found in the module file that Python has imported.

The names and structs are those of llguidance.h, version 1.9.1 to below 2. Nothing of the library is compiled or linked
here; whether what was found is what this file says, the self-test of `oxillama.structured.self_test` decides.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

ctypedef size_t (*llg_tokenize_fn)(const void *user_data, const uint8_t *text, size_t n_bytes, uint32_t *tokens,
                                   size_t n_tokens) noexcept nogil

# C's bool is a byte.
ctypedef struct llg_tokenizer_init:
    size_t struct_size
    uint32_t vocab_size
    uint32_t tok_eos
    const uint32_t *token_lens
    const uint8_t *token_bytes
    const char *tokenizer_json
    uint8_t tokenize_assumes_string
    llg_tokenize_fn tokenize_fn
    uint8_t use_approximate_greedy_tokenize_fn
    const void *tokenize_user_data
    const char *const *slices
    const uint32_t *tok_eos_extra
    uint32_t tok_eos_extra_count

ctypedef struct llg_limits:
    size_t max_items_in_row
    uint64_t initial_lexer_fuel
    uint64_t step_lexer_fuel
    size_t step_max_items
    size_t max_lexer_states
    size_t max_grammar_size
    uint8_t precompute_large_lexemes
    uint8_t verbose_errors

ctypedef struct llg_constraint_init:
    const void *tokenizer
    uint32_t log_buffer_level
    uint32_t log_stderr_level
    uint8_t ff_tokens_ok
    uint8_t backtrack_ok
    llg_limits limits

ctypedef struct llg_functions:
    const char *(*get_version)() noexcept nogil
    void (*constraint_init_set_defaults)(llg_constraint_init *init, const void *tokenizer) noexcept nogil
    void *(*new_tokenizer_v2)(const llg_tokenizer_init *init, char *error, size_t n_error) noexcept nogil
    void (*free_tokenizer)(void *tokenizer) noexcept nogil
    size_t (*tokenize_bytes)(const void *tokenizer, const uint8_t *text, size_t n_bytes, uint32_t *tokens,
                             size_t n_tokens) noexcept nogil
    void *(*new_matcher)(const llg_constraint_init *init, const char *kind, const char *text) noexcept nogil
    void *(*clone_matcher)(const void *matcher) noexcept nogil
    void (*free_matcher)(void *matcher) noexcept nogil
    const char *(*matcher_get_error)(void *matcher) noexcept nogil
    uint8_t (*matcher_is_error)(const void *matcher) noexcept nogil
    uint8_t (*matcher_is_stopped)(const void *matcher) noexcept nogil
    uint8_t (*matcher_is_accepting)(void *matcher) noexcept nogil
    size_t (*matcher_get_mask_byte_size)(const void *matcher) noexcept nogil
    int32_t (*matcher_compute_mask_into)(void *matcher, uint32_t *mask, size_t n_bytes) noexcept nogil
    int32_t (*matcher_consume_token)(void *matcher, uint32_t token) noexcept nogil
    int32_t (*matcher_rollback)(void *matcher, size_t n_tokens) noexcept nogil
    int32_t (*matcher_compute_ff_tokens)(void *matcher, uint32_t *tokens, size_t n_tokens) noexcept nogil


# The functions, all of them. The table is never freed: requests of a worker that is about to end may still use it.
cdef class Library:
    cdef const llg_functions *f
