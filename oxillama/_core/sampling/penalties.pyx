"""The stages that change single logits before anything is cut: bans, bias, grammar mask, repetition, DRY.

Sources: repetition penalty, N. Keskar et al., "CTRL", arXiv:1909.05858; presence and frequency penalties, the OpenAI
API reference; DRY, P. Weidmann's description in oobabooga/text-generation-webui pull request 5677.
"""

from libc.float cimport FLT_MAX
from libc.math cimport INFINITY, pow
from libc.stdint cimport int32_t, uint32_t


cdef uint32_t[32] BITS
for _i in range(32):
    BITS[_i] = 1u << _i


cdef inline float clamped(double value) noexcept nogil:
    """Round to float32 inside its finite range: only bans are infinite."""
    if value > FLT_MAX:
        return FLT_MAX
    if value < -FLT_MAX:
        return -FLT_MAX
    return <float> value


cdef inline int32_t token_back(const ox_history* history, int distance) noexcept nogil:
    """The token ``distance`` steps back, 0 being the last of prompt + output."""
    if distance < history.n_output:
        return history.output[history.n_output - 1 - distance]
    return history.prompt[history.n_prompt - 1 - (distance - history.n_output)]


cdef inline int window(const ox_history* history, int last_n) noexcept nogil:
    cdef int n = history.n_prompt + history.n_output
    return n if last_n < 0 else min(n, last_n)


cdef bint ox_edits_logits(
    const ox_sampling* s, const ox_history* history, uint32_t position, const uint32_t* mask
) noexcept nogil:
    cdef bint penalises_history = s.repetition_penalty != 1 or s.dry_multiplier > 0
    cdef bint penalises_output = s.presence_penalty != 0 or s.frequency_penalty != 0
    return (
        mask != NULL or s.n_biases > 0 or s.n_banned > 0
        or (s.ignore_eos and s.n_eog > 0) or (position < <uint32_t> s.min_tokens and s.n_ends > 0)
        or (penalises_history and history.n_prompt + history.n_output > 0)
        or (penalises_output and history.n_output > 0)
    )


cdef bint is_among(const int32_t* tokens, int n, int32_t token) noexcept nogil:
    cdef int i
    for i in range(n):
        if tokens[i] == token:
            return True
    return False


cdef bint ox_is_banned(const ox_sampling* s, uint32_t position, int32_t token) noexcept nogil:
    cdef int i
    for i in range(s.n_biases):
        if s.biases[i].token == token and s.biases[i].bias == -INFINITY:
            return True
    return (
        is_among(s.banned, s.n_banned, token)
        or (s.ignore_eos and is_among(s.ends, s.n_eog, token))
        or (position < <uint32_t> s.min_tokens and is_among(s.ends, s.n_ends, token))
    )


cdef void ban(ox_candidates* c, const int32_t* tokens, int n) noexcept nogil:
    cdef int i
    for i in range(n):
        if 0 <= tokens[i] < c.n_vocab:
            c.edited[tokens[i]] = -INFINITY


cdef void add_bias(ox_candidates* c, const ox_sampling* s) noexcept nogil:
    cdef int i
    cdef int32_t token
    for i in range(s.n_biases):
        token = s.biases[i].token
        if 0 <= token < c.n_vocab and c.edited[token] != -INFINITY:
            if s.biases[i].bias == -INFINITY:
                c.edited[token] = -INFINITY
            else:
                c.edited[token] = clamped(<double> c.edited[token] + s.biases[i].bias)


cdef void keep_bits(float* x, uint32_t bits) noexcept nogil:
    """Of 32 values, the banned ones become -infinity; tested with constants, as any vector unit can."""
    cdef int i
    for i in range(32):
        x[i] = x[i] if bits & BITS[i] else -INFINITY


cdef void apply_mask(ox_candidates* c, const uint32_t* mask) noexcept nogil:
    cdef int word, token, n_whole = c.n_vocab // 32
    cdef uint32_t all_allowed = 0xFFFFFFFF
    for word in range(n_whole):
        if mask[word] != all_allowed:
            keep_bits(c.edited + 32 * word, mask[word])
    for token in range(32 * n_whole, c.n_vocab):
        if not mask[n_whole] & BITS[token & 31]:
            c.edited[token] = -INFINITY


cdef void penalise_repetition(ox_candidates* c, const ox_history* history, double penalty, int last_n) noexcept nogil:
    cdef int i, n = window(history, last_n)
    cdef int32_t token
    cdef double x
    for i in range(n):
        token = token_back(history, i)
        if not 0 <= token < c.n_vocab or c.marks[token]:
            continue
        c.marks[token] = 1
        x = c.edited[token]
        if x != -INFINITY:
            c.edited[token] = clamped(x / penalty if x > 0 else x * penalty)
    for i in range(n):
        token = token_back(history, i)
        if 0 <= token < c.n_vocab:
            c.marks[token] = 0


cdef void penalise_output(
    ox_candidates* c, const ox_history* history, double presence, double frequency
) noexcept nogil:
    cdef int i
    cdef int32_t token
    for i in range(history.n_output):
        token = history.output[i]
        if 0 <= token < c.n_vocab:
            c.marks[token] += 1
    for i in range(history.n_output):
        token = history.output[i]
        if 0 <= token < c.n_vocab and c.marks[token]:
            if c.edited[token] != -INFINITY:
                c.edited[token] = clamped(<double> c.edited[token] - frequency * c.marks[token] - presence)
            c.marks[token] = 0


cdef bint is_single_breaker(const ox_sampling* s, int32_t token) noexcept nogil:
    cdef int low = 0
    cdef int high = s.n_single_breakers
    cdef int middle
    while low < high:
        middle = (low + high) // 2
        if s.single_breakers[middle] < token:
            low = middle + 1
        else:
            high = middle
    return low < s.n_single_breakers and s.single_breakers[low] == token


cdef int compare_breaker(const ox_sampling* s, int b, const int32_t* recent, int n) noexcept nogil:
    """Below 0, 0, above 0: breaker ``b``, read backwards, stands before ``recent`` [n], begins it, or stands after."""
    cdef int start = s.breaker_starts[b]
    cdef int end = s.breaker_starts[b + 1]
    cdef int i
    for i in range(end - start):
        if i == n:
            return 1
        if s.breaker_tokens[end - 1 - i] != recent[i]:
            return -1 if s.breaker_tokens[end - 1 - i] < recent[i] else 1
    return 0


cdef bint ends_with_breaker(const ox_sampling* s, const int32_t* recent, int n) noexcept nogil:
    """Whether ``recent`` [n], newest first, ends with a breaker."""
    cdef int low = 0
    cdef int high = s.n_breakers
    cdef int middle, order
    if is_single_breaker(s, recent[0]):
        return True
    # No breaker ends with another, so the one that fits has nothing between itself and `recent`.
    while low < high:
        middle = (low + high) // 2
        order = compare_breaker(s, middle, recent, n)
        if order == 0:
            return True
        if order < 0:
            low = middle + 1
        else:
            high = middle
    return False


cdef void match_lengths(const int32_t* recent, int n, int32_t* matches) noexcept nogil:
    """How many tokens of ``recent[i:]`` and ``recent`` agree, for every i >= 1: Gusfield's Z algorithm, O(n)."""
    cdef int left = 0
    cdef int right = 0
    cdef int i, length
    for i in range(1, n):
        length = 0
        if i < right:
            length = min(right - i, matches[i - left])
        while i + length < n and recent[length] == recent[i + length]:
            length += 1
        matches[i] = length
        if i + length > right:
            left = i
            right = i + length


cdef bint penalise_continuations(ox_candidates* c, const ox_sampling* s, const ox_history* history) noexcept nogil:
    """DRY: a token that would prolong a repetition of n tokens loses multiplier * base^(n - allowed length)."""
    cdef int n = window(history, s.dry_penalty_last_n)
    cdef int shortest = max(s.dry_allowed_length, 1)
    cdef int limit, i, length
    cdef int32_t token
    cdef double penalty
    if n > c.n_history:
        return False
    for i in range(n):
        c.recent[i] = token_back(history, i)
    # A repetition may not reach back over a breaker, so the one nearest to the end limits every match.
    for limit in range(n):
        if ends_with_breaker(s, c.recent + limit, n - limit):
            break
    else:
        limit = n
    if limit < shortest:
        return True
    match_lengths(c.recent, n, c.matches)
    for i in range(1, n):
        token = c.recent[i - 1]
        length = min(<int> c.matches[i], limit)
        if length >= shortest and 0 <= token < c.n_vocab and length > c.marks[token]:
            c.marks[token] = length
    for i in range(1, n):
        token = c.recent[i - 1]
        if not 0 <= token < c.n_vocab or c.marks[token] == 0:
            continue
        if c.edited[token] != -INFINITY and not is_single_breaker(s, token):
            penalty = s.dry_multiplier * pow(s.dry_base, c.marks[token] - s.dry_allowed_length)
            c.edited[token] = clamped(<double> c.edited[token] - penalty)
        c.marks[token] = 0
    return True


cdef bint ox_edit_logits(
    ox_candidates* c, const ox_sampling* s, const ox_history* history, uint32_t position, const uint32_t* mask
) noexcept nogil:
    ban(c, s.banned, s.n_banned)
    if s.ignore_eos:
        ban(c, s.ends, s.n_eog)
    if position < <uint32_t> s.min_tokens:
        ban(c, s.ends, s.n_ends)
    add_bias(c, s)
    if mask != NULL:
        apply_mask(c, mask)
    if s.repetition_penalty != 1:
        penalise_repetition(c, history, s.repetition_penalty, s.repeat_last_n)
    if s.presence_penalty != 0 or s.frequency_penalty != 0:
        penalise_output(c, history, s.presence_penalty, s.frequency_penalty)
    if s.dry_multiplier > 0:
        return penalise_continuations(c, s, history)
    return True
