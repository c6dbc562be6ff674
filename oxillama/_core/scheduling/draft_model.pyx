"""Catching up with sequences, and drawing ahead of them; the contract stands in the .pxd."""

from libc.stdint cimport INT32_MAX, int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from oxillama._core.network.executor cimport OX_STEP_DONE, execute, ox_batch, row_of
from oxillama._core.output.output cimport ox_output
from oxillama._core.parking cimport ox_monotonic_ns
from oxillama._core.request cimport num_known, request_is_decoding
from oxillama._core.sampling.candidates cimport ox_candidates_create, ox_candidates_free
from oxillama._core.sampling.parameters cimport ox_sampling
from oxillama._core.sampling.penalties cimport ox_history
from oxillama._core.sampling.sampler cimport OX_SAMPLE_OK, ox_sample, ox_sample_result
from oxillama._core.scheduling.block_table cimport blocks_for, table_extend, table_num_available
from oxillama._core.scheduling.kv_blocks cimport OX_KV_BLOCK
from oxillama._core.scheduling.row_costs cimport OX_COSTED_ROWS, row_costs_worthwhile

cdef enum:
    MAX_SEQUENCES = 8  # that run together; with more, a row is no longer nearly free

# Of a draft to be right, before anything is known.
cdef double CHANCE = 0.7
# What a token never has that the small model does not know.
cdef float LEAST = -1e30


cdef ox_draft_model *draft_model_create(ox_program *program, int32_t n_vocab, int32_t n_ctx, int32_t max_batch_size,
                                        int32_t n_blocks) noexcept nogil:
    cdef ox_draft_model *d = <ox_draft_model *> calloc(1, sizeof(ox_draft_model))
    if d == NULL:
        return NULL
    d.program = program
    d.n_vocab = n_vocab
    d.n_ctx = n_ctx
    d.max_batch_size = max_batch_size
    d.tokens = <int32_t *> calloc(program.max_tokens, sizeof(int32_t))
    d.output_rows = <int32_t *> calloc(max_batch_size, sizeof(int32_t))
    d.runs = <ox_run *> calloc(max_batch_size, sizeof(ox_run))
    d.places = <ox_draft_place *> calloc(max_batch_size, sizeof(ox_draft_place))
    d.drafting = <ox_draft_place **> calloc(max_batch_size, sizeof(ox_draft_place *))
    d.steps = <int32_t *> calloc(max_batch_size, sizeof(int32_t))
    d.written = <uint64_t *> calloc(n_blocks, sizeof(uint64_t))
    d.logits = <float *> calloc(n_vocab, sizeof(float))
    d.memory = ox_candidates_create(n_vocab, n_ctx)
    if not (d.tokens and d.output_rows and d.runs and d.places and d.drafting and d.steps and d.written and d.logits
            and d.memory):
        draft_model_destroy(d)
        return NULL
    return d


cdef void draft_model_destroy(ox_draft_model *d) noexcept nogil:
    if d == NULL:
        return
    if d.memory != NULL:
        ox_candidates_free(d.memory)
    free(d.tokens)
    free(d.output_rows)
    free(d.runs)
    free(d.places)
    free(d.drafting)
    free(d.steps)
    free(d.written)
    free(d.logits)
    free(d)


cdef uint64_t hash_block(uint64_t before, const int32_t *tokens) noexcept nogil:
    """Of a block behind others with this hash; never 0. A wrong one would cost drafts, nothing else."""
    cdef uint64_t h = before + 1
    cdef int32_t i
    for i in range(OX_KV_BLOCK):
        h = (h ^ <uint64_t> <uint32_t> tokens[i]) * <uint64_t> 0x9E3779B97F4A7C15
        h ^= h >> 32
    return h if h else 1


cdef int32_t find_computed(ox_draft_model *d, ox_draft_place *place) noexcept nogil:
    """How many positions of the sequence need not be computed, at most all but the last."""
    cdef ox_request *request = place.request
    cdef int32_t n = 0, most = num_known(request) - 1, done, i
    cdef uint64_t h = 0, following
    while (n + 1) * OX_KV_BLOCK <= most:
        following = hash_block(h, request.tokens + n * OX_KV_BLOCK)
        if d.written[request.blocks[n]] != following:
            break
        h = following
        n += 1
    # The block may have been exchanged for an equal one since, in which nothing was written.
    if place.tail != n or n >= request.n_blocks or place.tail_block != request.blocks[n]:
        return n * OX_KV_BLOCK
    done = min(min(place.n_computed, most), (n + 1) * OX_KV_BLOCK)
    for i in range(place.n_true, done):
        if request.tokens[i] != place.guesses[i - place.n_true]:
            done = i
            break
    if done == (n + 1) * OX_KV_BLOCK:
        d.written[request.blocks[n]] = hash_block(h, request.tokens + n * OX_KV_BLOCK)
    return max(done, n * OX_KV_BLOCK)


cdef void note_computed(ox_draft_model *d, ox_draft_place *place, int32_t first, int32_t n_computed,
                        int32_t n_true) noexcept nogil:
    """Positions [first, n_computed) were computed; the tokens of the first n_true are no guesses."""
    cdef ox_request *request = place.request
    cdef int32_t i
    cdef uint64_t h = 0
    for i in range(n_true // OX_KV_BLOCK):
        h = hash_block(h, request.tokens + i * OX_KV_BLOCK)
        if (i + 1) * OX_KV_BLOCK > first:
            d.written[request.blocks[i]] = h
    place.n_computed = place.n_true = n_computed
    place.tail = n_true // OX_KV_BLOCK
    place.tail_block = request.blocks[place.tail] if place.tail < request.n_blocks else -1


cdef void learn(ox_draft_place *place) noexcept nogil:
    """How the last drafts fared."""
    cdef ox_request *request = place.request
    cdef int32_t _
    if place.n_drafts > 0:
        for _ in range(request.num_accepted_drafts - place.n_accepted):
            place.chance += (1 - place.chance) / 8
        if request.num_rejected_drafts > place.n_rejected:
            place.chance -= place.chance / 8  # behind the first that was wrong, nothing is known
    place.n_accepted = request.num_accepted_drafts
    place.n_rejected = request.num_rejected_drafts
    place.n_drafts = 0


cdef ox_draft_place *place_of(ox_draft_model *d, ox_request *request) noexcept nogil:
    cdef ox_draft_place *place = &d.places[request.slot]
    if place.sequence != request.sequence + 1 or place.num_preemptions != request.num_preemptions:
        memset(place, 0, sizeof(ox_draft_place))
        place.sequence = request.sequence + 1
        place.num_preemptions = request.num_preemptions
        place.tail = -1
        place.chance = CHANCE
        place.n_accepted = request.num_accepted_drafts
        place.n_rejected = request.num_rejected_drafts
    place.request = request
    return place


cdef int32_t room(ox_scheduler *s, ox_request *request, int32_t n) noexcept nogil:
    """How many of n drafts have blocks for what they are drawn from. Takes blocks that nobody else needs."""
    while (request.n_blocks < blocks_for(num_known(request) + n - 1)
           and table_num_available(s.pool) > s.n_running and table_extend(s.pool, request)):
        pass
    return min(n, request.n_blocks * OX_KV_BLOCK - num_known(request) + 1)


cdef int32_t wish(ox_draft_model *d, ox_scheduler *s, ox_draft_place *place, ox_row_costs *costs,
                  int32_t n_rows, int32_t n_sequences) noexcept nogil:
    cdef ox_request *request = place.request
    cdef int32_t n = min(s.config.max_drafts, request.max_output - request.n_output - 1)
    n = min(min(n, <int32_t> OX_MOST_GUESSED), min(s.config.n_ctx, d.n_ctx) - num_known(request) - 1)
    if n <= 0:
        return 0
    if not d.is_eager:
        n = row_costs_worthwhile(costs, n_rows, n, place.chance, d.pass_ns / n_sequences)
        if n == 0:
            # Texts change: what has failed is tried again now and then.
            place.chance += (CHANCE - place.chance) / 512
            return 0
    return max(0, room(s, request, n))


cdef void draft_model_propose(ox_draft_model *d, ox_scheduler *s, ox_row_costs *costs, int32_t n_rows) noexcept nogil:
    cdef int32_t i, n = 0, most = 0, n_sequences = 0
    cdef ox_request *request
    cdef ox_draft_place *place
    if n_rows > (OX_COSTED_ROWS if d.is_eager else MAX_SEQUENCES):
        return
    for i in range(s.n_running):
        n_sequences += request_is_decoding(s.running[i]) and s.running[i].n_drafts == 0
    for i in range(s.n_running):
        request = s.running[i]
        if not request_is_decoding(request) or request.n_drafts > 0:
            continue
        place = place_of(d, request)
        learn(place)
        place.n_drafts = wish(d, s, place, costs, n_rows, n_sequences)
        if place.n_drafts > 0:
            d.drafting[n] = place
            n += 1
            n_rows += place.n_drafts
            most = max(most, place.n_drafts)
    if n > 0:
        n = catch_up(d, n)
    i = 0
    while n > 0 and i < most:
        n = draw_next(d, n, i)
        i += 1


cdef int32_t catch_up(ox_draft_model *d, int32_t n) noexcept nogil:
    """Computes what is known of the sequences but the last token, up to a step's tokens. Who is not done makes no
    drafts this time. Returns how many are left."""
    cdef int32_t i, first, n_missing, n_left = 0, n_runs = 0, n_tokens = 0, space = d.program.max_tokens
    cdef ox_draft_place *place
    cdef ox_request *request
    cdef ox_batch batch
    cdef bint is_done
    for i in range(n):
        place = d.drafting[i]
        request = place.request
        first = find_computed(d, place)
        n_missing = num_known(request) - 1 - first
        is_done = n_missing <= space - n_tokens
        n_missing = min(n_missing, space - n_tokens)
        if n_missing > 0:
            add_run(d, &n_runs, &n_tokens, request, first, n_missing)
            note_computed(d, place, first, first + n_missing, first + n_missing)
        if is_done:
            place.n_computed = place.n_true = num_known(request) - 1
            d.drafting[n_left] = place
            n_left += 1
        else:
            place.n_drafts = 0
    # Keys and values only: no row leaves the network.
    if n_runs > 0 and not run(d, &batch, n_runs, n_tokens, 0):
        return 0
    return n_left


cdef void add_run(ox_draft_model *d, int32_t *n_runs, int32_t *n_tokens, ox_request *request, int32_t first,
                  int32_t n) noexcept nogil:
    cdef ox_run *added = &d.runs[n_runs[0]]
    cdef int32_t i
    memset(added, 0, sizeof(ox_run))
    added.first_row = n_tokens[0]
    added.n_tokens = n
    added.first_position = first
    added.slot = request.slot
    added.restored = -1
    added.second_start = INT32_MAX
    added.blocks = added.window_blocks = request.blocks  # its own cache gives nothing back
    memcpy(d.tokens + n_tokens[0], request.tokens + first, n * sizeof(int32_t))
    # Until all of it is known to be true.
    for i in range(first // OX_KV_BLOCK, blocks_for(first + n)):
        d.written[request.blocks[i]] = 0
    n_runs[0] += 1
    n_tokens[0] += n


cdef bint run(ox_draft_model *d, ox_batch *batch, int32_t n_runs, int32_t n_tokens, int32_t n_outputs) noexcept nogil:
    batch.n_tokens = n_tokens
    batch.n_outputs = batch.n_logits = n_outputs
    batch.n_runs = n_runs
    batch.tokens = d.tokens
    batch.output_rows = d.output_rows
    batch.runs = d.runs
    batch.abandon = NULL
    batch.context = NULL
    return execute(d.program, batch) == OX_STEP_DONE


cdef int32_t draw_next(ox_draft_model *d, int32_t n, int32_t k) noexcept nogil:
    """The draft number k of each of n sequences. Returns how many go on."""
    cdef int32_t i, position, n_runs = 0, n_tokens = 0, n_left = 0
    cdef int64_t begin = ox_monotonic_ns()
    cdef ox_draft_place *place
    cdef ox_batch batch
    for i in range(n):
        place = d.drafting[i]
        position = num_known(place.request) - 1 + k
        d.output_rows[i] = i
        add_run(d, &n_runs, &n_tokens, place.request, position, 1)
        note_tail(place, position)
    if not run(d, &batch, n_runs, n_tokens, n):
        return 0
    for i in range(n):
        place = d.drafting[i]
        if not draw(d, place.request, row_of(d.program, d.program.logits, i), k):
            place.n_drafts = k
        place.request.n_drafts = min(k + 1, place.n_drafts)
        if k + 1 < place.n_drafts:
            d.drafting[n_left] = place
            n_left += 1
    begin = ox_monotonic_ns() - begin
    d.pass_ns += (min(<double> begin, 2 * d.pass_ns) - d.pass_ns) / 8 if d.pass_ns > 0 else <double> begin
    return n_left


cdef void note_tail(ox_draft_place *place, int32_t position) noexcept nogil:
    """The position is computed; of a block behind the first one that drafts reach into, nothing is known later."""
    cdef int32_t tail = (num_known(place.request) - 1) // OX_KV_BLOCK
    place.tail = tail
    place.tail_block = place.request.blocks[tail]
    place.n_computed = position + 1
    place.n_true = num_known(place.request)


cdef bint draw(ox_draft_model *d, ox_request *request, const float *logits, int32_t k) noexcept nogil:
    """What the large model would draw from these logits behind k drafts."""
    cdef const ox_sampling *sampling = <const ox_sampling *> request.sampling
    cdef ox_output *output = <ox_output *> request.output
    cdef int32_t i, width = d.program.buffers[d.program.logits].width
    cdef ox_draft_place *place = &d.places[request.slot]
    cdef ox_sample_result sample
    cdef ox_history history
    if width < d.n_vocab:
        memcpy(d.logits, logits, width * sizeof(float))
        for i in range(width, d.n_vocab):
            d.logits[i] = LEAST
        logits = d.logits
    if k == 0:
        place.mirostat_mu = output.mirostat_mu
    history.prompt = request.tokens
    history.n_prompt = request.n_prompt
    history.output = request.tokens + request.n_prompt
    history.n_output = request.n_output + k
    if ox_sample(sampling, d.memory, logits, d.n_vocab, &history, output.choice, <uint32_t> (request.n_output + k),
                 NULL, &place.mirostat_mu if sampling.mirostat else NULL, &sample) != OX_SAMPLE_OK:
        return False
    request.tokens[num_known(request) + k] = sample.token
    place.guesses[k] = sample.token
    return True
