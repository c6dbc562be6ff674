"""The contract of a constraint, filled by llguidance's C functions; what is what stands in the .pxd."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset, strncmp

from oxillama._core.atomics cimport ox_fetch_add_acq_rel_i32, ox_fetch_add_relaxed_i32, ox_store_relaxed_i32
from oxillama._core.constraint cimport (
    OX_CONSTRAINT_COMPLETE,
    OX_CONSTRAINT_DEAD,
    OX_CONSTRAINT_FAILED,
    OX_CONSTRAINT_OPEN,
)
from oxillama._core.output.vocab cimport HIDDEN, TokenTable, TokenView
from oxillama._core.structured.llguidance cimport llg_constraint_init, llg_tokenizer_init
from oxillama._core.structured.longest_match cimport (
    longest_match_create,
    longest_match_ref,
    longest_match_tokenize,
    longest_match_unref,
)

cdef enum:
    MARKER = 0xFF            # what special tokens begin with
    NO_TOKEN = 0xFFFFFFFF    # for llguidance: there is none
    MAX_NAME = 16            # bytes of the name of a special token without text
    MAX_ERROR = 4096
    # What a larger init of another version would reach into.
    N_GUARD = 256

cdef uint8_t GUARD = 0xA5


cdef void unref_compiled(ox_compiled *compiled) noexcept nogil:
    if compiled == NULL or ox_fetch_add_acq_rel_i32(&compiled.num_references, -1) != 1:
        return
    if compiled.matcher != NULL:
        compiled.f.free_matcher(compiled.matcher)
    longest_match_unref(compiled.match)
    free(compiled)


# --- the vocabulary

cdef size_t write_token(const TokenView *view, int32_t token, bint special, uint8_t *out) noexcept nogil:
    """What llguidance is told that a token writes; returns how many bytes, at most MAX_NAME more than it has."""
    cdef size_t n = view.offsets[token + 1] - view.offsets[token]
    cdef size_t i, n_digits = 1
    cdef int32_t rest
    if not special:
        memcpy(out, view.blob + view.offsets[token], n)
        return n
    out[0] = MARKER
    if n > 0 and view.blob[view.offsets[token]] != MARKER:
        memcpy(out + 1, view.blob + view.offsets[token], n)
        return n + 1
    # A name that no grammar uses.
    out[1] = MARKER
    rest = token
    while rest >= 10:
        rest //= 10
        n_digits += 1
    rest = token
    for i in range(n_digits):
        out[1 + n_digits - i] = <uint8_t> (48 + rest % 10)
        rest //= 10
    return n_digits + 2


cdef class GuideVocabulary:
    def __init__(self, Library library not None, TokenTable table not None, int32_t n_vocab, end_tokens):
        cdef const TokenView *view = &table.view
        cdef llg_tokenizer_init init
        cdef uint8_t *special = NULL
        cdef uint32_t *lengths = NULL
        cdef uint8_t *texts = NULL
        cdef size_t n_bytes = 0
        cdef int32_t token, n_tokens = min(view.num_tokens, n_vocab)
        cdef bytes error = bytes(MAX_ERROR)
        cdef char *message = PyBytes_AS_STRING(error)
        ends = [token for token in end_tokens if 0 <= token < n_vocab]
        cdef bytes extra = b"".join(int(token).to_bytes(4, "little") for token in ends[1:])
        if self.tokenizer != NULL:
            raise ValueError("the vocabulary is made already")
        if library.f == NULL:
            raise ValueError("the library was not found")
        self.f = library.f
        self.n_vocab = n_vocab
        try:
            special = <uint8_t *> calloc(max(n_vocab, view.num_tokens) + 1, 1)
            lengths = <uint32_t *> calloc(n_vocab + 1, sizeof(uint32_t))
            texts = <uint8_t *> malloc(<size_t> view.offsets[view.num_tokens] + <size_t> MAX_NAME * (n_vocab + 1))
            if special == NULL or lengths == NULL or texts == NULL:
                raise MemoryError(f"no memory for a vocabulary of {n_vocab} tokens")
            for token in ends:
                special[token] = 1
            with nogil:
                for token in range(view.num_tokens):
                    if token >= n_vocab or view.flags[token] & HIDDEN or (
                        view.offsets[token + 1] > view.offsets[token] and view.blob[view.offsets[token]] == MARKER
                    ):
                        special[token] = 1
                self.match = longest_match_create(view, special, n_vocab)
                if self.match != NULL:
                    for token in range(n_tokens):
                        lengths[token] = <uint32_t> write_token(view, token, special[token], texts + n_bytes)
                        n_bytes += lengths[token]
                    # One token beyond the model's stands for text that it cannot write.
                    texts[n_bytes] = texts[n_bytes + 1] = texts[n_bytes + 2] = MARKER
                    lengths[n_vocab] = 3
            if self.match == NULL:
                raise MemoryError(f"no memory for a vocabulary of {n_vocab} tokens")
            memset(&init, 0, sizeof(init))
            init.struct_size = sizeof(init)
            init.vocab_size = <uint32_t> (n_vocab + 1)
            init.tok_eos = <uint32_t> ends[0] if ends else <uint32_t> NO_TOKEN
            init.token_lens = lengths
            init.token_bytes = texts
            init.tokenize_fn = longest_match_tokenize
            init.tokenize_user_data = self.match
            init.tok_eos_extra = <const uint32_t *> PyBytes_AS_STRING(extra)
            init.tok_eos_extra_count = <uint32_t> (len(extra) // 4)
            with nogil:
                self.tokenizer = self.f.new_tokenizer_v2(&init, message, MAX_ERROR)
            if self.tokenizer == NULL:
                raise ValueError(error.partition(b"\0")[0].decode("utf-8", "replace"))
        finally:
            free(special)
            free(lengths)
            free(texts)

    def __dealloc__(self):
        if self.tokenizer != NULL:
            self.f.free_tokenizer(self.tokenizer)
        longest_match_unref(self.match)

    @property
    def n_vocab(self):
        return self.n_vocab

    def tokenize(self, bytes text not None):
        cdef size_t i, n
        cdef uint32_t *tokens = <uint32_t *> malloc((len(text) + 1) * sizeof(uint32_t))
        if tokens == NULL:
            raise MemoryError
        n = self.f.tokenize_bytes(self.tokenizer, <const uint8_t *> PyBytes_AS_STRING(text), len(text), tokens,
                                  len(text) + 1)
        found = [tokens[i] for i in range(n)]
        free(tokens)
        return found


# --- a grammar

ctypedef struct GuardedInit:
    llg_constraint_init init
    uint8_t[N_GUARD] guard


cdef class CompiledGrammar:
    def __init__(self, GuideVocabulary vocabulary not None, str kind not None, str text not None, dict limits=None):
        cdef GuardedInit guarded
        cdef const llg_functions *f = vocabulary.f
        cdef bytes kind_bytes = kind.encode(), text_bytes = text.encode()
        cdef const char *kind_chars = kind_bytes
        cdef const char *text_chars = text_bytes
        cdef const char *message
        if self.compiled != NULL:
            raise ValueError("the grammar is compiled already")
        if b"\0" in text_bytes:
            raise ValueError("the grammar contains a NUL character; write it as an escape")
        self.vocabulary = vocabulary
        self.compiled = <ox_compiled *> calloc(1, sizeof(ox_compiled))
        if self.compiled == NULL:
            raise MemoryError
        ox_store_relaxed_i32(&self.compiled.num_references, 1)
        self.compiled.f = f
        self.compiled.match = longest_match_ref(vocabulary.match)
        set_defaults(&guarded, f, vocabulary.tokenizer)
        for name, value in (limits or {}).items():
            set_limit(&guarded.init, name, value)
        with nogil:
            self.compiled.matcher = f.new_matcher(&guarded.init, kind_chars, text_chars)
        if self.compiled.matcher == NULL:
            raise MemoryError
        if f.matcher_is_error(self.compiled.matcher):
            message = f.matcher_get_error(self.compiled.matcher)
            raise ValueError("" if message == NULL else (<bytes> message).decode("utf-8", "replace"))

    def __dealloc__(self):
        unref_compiled(self.compiled)

    def guide(self):
        return new_guide(self)


cdef int set_defaults(GuardedInit *guarded, const llg_functions *f, const void *tokenizer) except -1:
    """Raises ValueError when the library's idea of the struct is not ours."""
    cdef Py_ssize_t i
    memset(&guarded.init, 0, sizeof(guarded.init))
    memset(guarded.guard, GUARD, N_GUARD)
    f.constraint_init_set_defaults(&guarded.init, tokenizer)
    for i in range(N_GUARD):
        if guarded.guard[i] != GUARD:
            raise ValueError("LlgConstraintInit is larger than expected")
    if guarded.init.tokenizer != tokenizer or guarded.init.ff_tokens_ok or guarded.init.backtrack_ok:
        raise ValueError("LlgConstraintInit begins otherwise than expected")
    if guarded.init.limits.precompute_large_lexemes > 1 or guarded.init.limits.verbose_errors > 1:
        raise ValueError("LlgParserLimits ends otherwise than expected")
    guarded.init.log_buffer_level = guarded.init.log_stderr_level = 0
    # Else an error shows the tokens so far.
    guarded.init.limits.verbose_errors = 0
    return 0


cdef int set_limit(llg_constraint_init *init, str name, value) except -1:
    if name == "max_items_in_row":
        init.limits.max_items_in_row = value
    elif name == "initial_lexer_fuel":
        init.limits.initial_lexer_fuel = value
    elif name == "step_lexer_fuel":
        init.limits.step_lexer_fuel = value
    elif name == "step_max_items":
        init.limits.step_max_items = value
    elif name == "max_lexer_states":
        init.limits.max_lexer_states = value
    elif name == "max_grammar_size":
        init.limits.max_grammar_size = value
    else:
        raise ValueError(f"no limit is called {name}")
    return 0


# --- a sequence

cdef Guide new_guide(CompiledGrammar grammar):
    cdef Guide made = Guide.__new__(Guide)
    cdef ox_compiled *compiled = grammar.compiled
    cdef ox_guide *g = <ox_guide *> calloc(1, sizeof(ox_guide))
    if g == NULL:
        raise MemoryError
    g.base.mask_begin = mask_begin
    g.base.mask_wait = mask_wait
    g.base.accept = accept
    g.base.rollback = rollback
    g.base.forced = forced
    g.base.destroy = destroy
    g.f = compiled.f
    g.compiled = compiled
    ox_fetch_add_relaxed_i32(&compiled.num_references, 1)
    made.c = &g.base
    with nogil:
        g.matcher = g.f.clone_matcher(compiled.matcher)
        g.n_mask_bytes = g.f.matcher_get_mask_byte_size(g.matcher)
    g.n_row_bytes = (<size_t> grammar.vocabulary.n_vocab + 31) // 32 * sizeof(uint32_t)
    if g.n_mask_bytes != g.n_row_bytes:
        g.scratch = <uint32_t *> malloc(g.n_mask_bytes)
        if g.scratch == NULL or g.n_mask_bytes < g.n_row_bytes:
            raise MemoryError
    return made


cdef class Guide(Constraint):
    pass


cdef ox_constraint_status failure(ox_guide *g) noexcept nogil:
    """Of a matcher in its error state, which it never leaves."""
    cdef const char *message = g.f.matcher_get_error(g.matcher)
    # The name of the library's StopReason: no token is possible.
    if message != NULL and strncmp(message, "NoExtensionBias", 15) == 0:
        return OX_CONSTRAINT_DEAD
    return OX_CONSTRAINT_FAILED


cdef void mask_begin(ox_constraint *base, int32_t position, uint32_t *mask) noexcept nogil:
    cdef ox_guide *g = <ox_guide *> base
    if g.f.matcher_is_error(g.matcher):
        g.status = failure(g)
        return
    if g.n_tokens > 0 and g.f.matcher_is_stopped(g.matcher):
        g.status = OX_CONSTRAINT_COMPLETE
        return
    if g.f.matcher_compute_mask_into(g.matcher, mask if g.scratch == NULL else g.scratch, g.n_mask_bytes) != 0:
        g.status = failure(g)
        return
    if g.scratch != NULL:
        memcpy(mask, g.scratch, g.n_row_bytes)
    g.status = OX_CONSTRAINT_OPEN


cdef ox_constraint_status mask_wait(ox_constraint *base) noexcept nogil:
    return (<ox_guide *> base).status


cdef ox_constraint_status consume(ox_guide *g, int32_t token) noexcept nogil:
    if g.f.matcher_consume_token(g.matcher, <uint32_t> token) != 0 or g.f.matcher_is_error(g.matcher):
        return OX_CONSTRAINT_FAILED
    return OX_CONSTRAINT_COMPLETE if g.f.matcher_is_stopped(g.matcher) else OX_CONSTRAINT_OPEN


cdef ox_constraint_status accept(ox_constraint *base, int32_t token) noexcept nogil:
    cdef ox_guide *g = <ox_guide *> base
    cdef int32_t *grown
    if g.n_tokens == g.max_tokens:
        grown = <int32_t *> realloc(g.tokens, (2 * <size_t> g.max_tokens + 64) * sizeof(int32_t))
        if grown == NULL:
            return OX_CONSTRAINT_FAILED
        g.tokens = grown
        g.max_tokens = 2 * g.max_tokens + 64
    g.tokens[g.n_tokens] = token
    g.n_tokens += 1
    return consume(g, token)


cdef ox_constraint_status rollback(ox_constraint *base, int32_t n) noexcept nogil:
    cdef ox_guide *g = <ox_guide *> base
    cdef int32_t i
    g.n_tokens -= n
    if not g.f.matcher_is_error(g.matcher) and g.f.matcher_rollback(g.matcher, n) == 0:
        return OX_CONSTRAINT_OPEN
    # A limit was hit behind drafts that may never come. The way there is taken again, without them.
    g.f.free_matcher(g.matcher)
    g.matcher = g.f.clone_matcher(g.compiled.matcher)
    for i in range(g.n_tokens):
        if consume(g, g.tokens[i]) == OX_CONSTRAINT_FAILED:
            return OX_CONSTRAINT_FAILED
    return OX_CONSTRAINT_OPEN


cdef int32_t forced(ox_constraint *base, int32_t *tokens, int32_t most) noexcept nogil:
    cdef ox_guide *g = <ox_guide *> base
    if g.f.matcher_is_error(g.matcher) or (g.n_tokens > 0 and g.f.matcher_is_stopped(g.matcher)):
        return 0
    return max(0, g.f.matcher_compute_ff_tokens(g.matcher, <uint32_t *> tokens, most))


cdef void destroy(ox_constraint *base) noexcept nogil:
    cdef ox_guide *g = <ox_guide *> base
    if g.matcher != NULL:
        g.f.free_matcher(g.matcher)
    unref_compiled(g.compiled)
    free(g.scratch)
    free(g.tokens)
    free(g)
