"""The sampling parameters of one request as a C struct; ranges are checked by ``sampling.params``, not here."""

from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef enum:
    ALIGN = 8


cdef const void* rebase(const void* pointer, const ox_sampling* source, ox_sampling* copy) noexcept nogil:
    return <const char*> copy + (<const char*> pointer - <const char*> source)


cdef ox_sampling* ox_sampling_copy(const ox_sampling* source) noexcept nogil:
    cdef ox_sampling* copy = <ox_sampling*> malloc(source.n_bytes)
    if copy == NULL:
        return NULL
    memcpy(copy, source, source.n_bytes)
    copy.biases = <const ox_logit_bias*> rebase(source.biases, source, copy)
    copy.banned = <const int32_t*> rebase(source.banned, source, copy)
    copy.ends = <const int32_t*> rebase(source.ends, source, copy)
    copy.single_breakers = <const int32_t*> rebase(source.single_breakers, source, copy)
    copy.breaker_starts = <const int32_t*> rebase(source.breaker_starts, source, copy)
    copy.breaker_tokens = <const int32_t*> rebase(source.breaker_tokens, source, copy)
    return copy


cdef void ox_sampling_free(ox_sampling* sampling) noexcept nogil:
    free(sampling)


cdef size_t padded(size_t n_bytes) noexcept nogil:
    return (n_bytes + ALIGN - 1) & ~<size_t> (ALIGN - 1)


cdef const int32_t* put(char** cursor, list tokens) except NULL:
    """Write ``tokens`` at the cursor and move it on."""
    cdef int32_t* start = <int32_t*> cursor[0]
    cdef Py_ssize_t i
    for i in range(len(tokens)):
        start[i] = tokens[i]
    cursor[0] += padded(len(tokens) * sizeof(int32_t))
    return start


cdef list shortest_endings(set sequences):
    """Those that end with no other, ascending as they read backwards: where the others are, one of these is too."""
    cdef list kept = []
    cdef tuple backwards, last = ()
    for backwards in sorted([sequence[::-1] for sequence in sequences]):
        # What begins with one of them, in this order, stands right behind it.
        if not last or backwards[:len(last)] != last:
            last = backwards
            kept.append(backwards[::-1])
    return kept


cdef class CompiledSampling:
    """An immutable C copy of resolved sampling parameters; see ``SamplingParams.resolve``."""

    def __init__(
        self, *, seed, temperature, top_k, top_p, min_p, typical_p, top_a, top_n_sigma, epsilon_cutoff, eta_cutoff,
        xtc_probability, xtc_threshold, dry_multiplier, dry_base, dry_allowed_length, dry_penalty_last_n, dry_breakers,
        repetition_penalty, repeat_last_n, presence_penalty, frequency_penalty, dynatemp_range, dynatemp_exponent,
        mirostat, mirostat_tau, mirostat_eta, logit_bias, banned_tokens, eog_tokens, stop_tokens, ignore_eos,
        min_tokens, logprobs,
    ):
        if self.sampling != NULL:
            raise TypeError("sampling parameters cannot be initialised twice")
        cdef list biases = sorted(logit_bias.items())
        cdef list banned = sorted(set(banned_tokens))
        cdef list ends = list(eog_tokens) + list(stop_tokens)
        cdef list breakers = shortest_endings({tuple(sequence) for sequence in dry_breakers})
        cdef list singles = [sequence[0] for sequence in breakers if len(sequence) == 1]
        cdef list sequences = [sequence for sequence in breakers if len(sequence) > 1]
        cdef list starts = [0]
        cdef list tokens = []
        for sequence in sequences:
            tokens.extend(sequence)
            starts.append(len(tokens))

        cdef size_t n_bytes = padded(sizeof(ox_sampling)) + padded(len(biases) * sizeof(ox_logit_bias))
        for part in (banned, ends, singles, starts, tokens):
            n_bytes += padded(len(part) * sizeof(int32_t))
        cdef ox_sampling* sampling = <ox_sampling*> calloc(1, n_bytes)
        if sampling == NULL:
            raise MemoryError(f"no memory for {n_bytes} bytes of sampling parameters")
        self.sampling = sampling

        sampling.n_bytes = n_bytes
        sampling.seed = seed
        sampling.temperature = temperature
        sampling.top_k = top_k
        sampling.top_p = top_p
        sampling.min_p = min_p
        sampling.typical_p = typical_p
        sampling.top_a = top_a
        sampling.top_n_sigma = top_n_sigma
        sampling.epsilon_cutoff = epsilon_cutoff
        sampling.eta_cutoff = eta_cutoff
        sampling.xtc_probability = xtc_probability
        sampling.xtc_threshold = xtc_threshold
        sampling.dry_multiplier = dry_multiplier
        sampling.dry_base = dry_base
        sampling.dry_allowed_length = dry_allowed_length
        sampling.dry_penalty_last_n = dry_penalty_last_n
        sampling.repetition_penalty = repetition_penalty
        sampling.repeat_last_n = repeat_last_n
        sampling.presence_penalty = presence_penalty
        sampling.frequency_penalty = frequency_penalty
        sampling.dynatemp_range = dynatemp_range
        sampling.dynatemp_exponent = dynatemp_exponent
        sampling.mirostat = mirostat
        sampling.mirostat_tau = mirostat_tau
        sampling.mirostat_eta = mirostat_eta
        sampling.ignore_eos = ignore_eos
        sampling.min_tokens = min_tokens
        sampling.n_logprobs = -1 if logprobs is None else logprobs

        cdef char* cursor = <char*> sampling + padded(sizeof(ox_sampling))
        cdef ox_logit_bias* bias = <ox_logit_bias*> cursor
        sampling.biases = bias
        sampling.n_biases = len(biases)
        for i, (token, value) in enumerate(biases):
            bias[<int> i].token = token
            bias[<int> i].bias = value
        cursor += padded(len(biases) * sizeof(ox_logit_bias))
        sampling.banned = put(&cursor, banned)
        sampling.n_banned = len(banned)
        sampling.ends = put(&cursor, ends)
        sampling.n_eog = len(ends) - len(stop_tokens)
        sampling.n_ends = len(ends)
        sampling.single_breakers = put(&cursor, singles)
        sampling.n_single_breakers = len(singles)
        sampling.breaker_starts = put(&cursor, starts)
        sampling.n_breakers = len(sequences)
        sampling.breaker_tokens = put(&cursor, tokens)

    def __dealloc__(self):
        ox_sampling_free(self.sampling)

    cdef const ox_sampling* get(self) except NULL:
        if self.sampling == NULL:
            raise TypeError("these sampling parameters were never initialised")
        return self.sampling

    @property
    def seed(self):
        return self.get().seed

    @property
    def greedy(self):
        return self.get().temperature == 0

    @property
    def mirostat(self):
        return self.get().mirostat

    @property
    def mirostat_tau(self):
        return self.get().mirostat_tau

    def copy(self):
        """Return an independent copy, made the way a request makes its own."""
        cdef CompiledSampling other = CompiledSampling.__new__(CompiledSampling)
        other.sampling = ox_sampling_copy(self.get())
        if other.sampling == NULL:
            raise MemoryError(f"no memory for {self.sampling.n_bytes} bytes of sampling parameters")
        return other
