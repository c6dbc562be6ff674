"""Mixtures of experts: who computes what, the products, and the sum.

Each token chooses the same number of experts. Its rows, one for each, are put into the order of the experts, so that a
step reads the weights of an expert once, and only those of experts that somebody chose. A row's products do not depend
on its neighbours, and a token's results are added in the order of the experts' numbers: no bit depends on company."""

from libc.float cimport FLT_MAX
from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memset

from oxillama._core.network.adapter_products cimport adapted_rows, expand, ox_adapted_rows, shrink_rows
from oxillama._core.network.executor cimport ox_batch, ox_buffer, ox_member, ox_op, ox_program, row_of
from oxillama._core.network.kernels cimport (
    OX_EXP,
    OX_GROUP_ROWS,
    OX_SIGMOID,
    OX_SOFTPLUS,
    ox_activation,
    ox_activations,
    ox_matrix,
)
from oxillama._core.network.operations cimport Operation, register_rows, register_work
from oxillama._core.network.shares cimport ox_share, share_of, share_take
from oxillama._core.network.stacks cimport groups_of, matrix_of, rows_from

# How the scores of a token become weights; the numbers are the description's.
cdef enum:
    OX_SCORES_SOFTMAX = 0         # of all experts
    OX_SCORES_SIGMOID = 1         # each by itself
    OX_SCORES_CHOSEN_SOFTMAX = 2  # of those that were chosen, by their raw scores
    OX_SCORES_SQRT_SOFTPLUS = 3   # each by itself
    OX_SCORES_RAW = 4             # as they are

# The numbers of an operation's parameters.
cdef enum:
    ROUTE_EXPERTS = 0
    ROUTE_USED = 1
    ROUTE_SCORES = 2
    ROUTE_GROUPS = 3
    ROUTE_GROUPS_USED = 4
    ROUTE_RENORMALISES = 5
    ROUTE_SCALE = 0
    ROUTE_LEAST = 1


cdef void softmax(ox_program *program, int32_t n, float *x) noexcept nogil:
    cdef float top = x[0], total = 0
    cdef float no_parameters[4]
    cdef int32_t i
    for i in range(1, n):
        top = max(top, x[i])
    for i in range(n):
        x[i] -= top
    program.kernels.activate(OX_EXP, n, x, no_parameters, x)
    for i in range(n):
        total += x[i]
    for i in range(n):
        x[i] /= total


cdef void score(ox_program *program, const ox_op *op, const float *logits, float *scores) noexcept nogil:
    cdef int32_t n = op.integers[ROUTE_EXPERTS], kind = op.integers[ROUTE_SCORES], i
    cdef float no_parameters[4]
    memcpy(scores, logits, n * sizeof(float))
    if kind == OX_SCORES_SOFTMAX:
        softmax(program, n, scores)
    elif kind == OX_SCORES_SIGMOID:
        program.kernels.activate(OX_SIGMOID, n, scores, no_parameters, scores)
    elif kind == OX_SCORES_SQRT_SOFTPLUS:
        program.kernels.activate(OX_SOFTPLUS, n, scores, no_parameters, scores)
        for i in range(n):
            scores[i] = sqrtf(scores[i])


cdef extern from "<math.h>" nogil:
    float sqrtf(float x)  # rounded correctly everywhere, unlike the rest of it
    float INFINITY


cdef void forbid_groups(const ox_op *op, float *wanted) noexcept nogil:
    # Experts of groups that are not among the best can no longer be chosen; a group counts by its best two experts.
    cdef int32_t n_groups = op.integers[ROUTE_GROUPS], size = op.integers[ROUTE_EXPERTS] // n_groups
    cdef int32_t _used, group, i, best
    cdef float first, second, value, best_value
    cdef float values[64]
    for group in range(n_groups):
        first = second = -INFINITY
        for i in range(group * size, (group + 1) * size):
            if wanted[i] > first:
                second = first
                first = wanted[i]
            elif wanted[i] > second:
                second = wanted[i]
        values[group] = first + second if size > 1 else first
    for _used in range(op.integers[ROUTE_GROUPS_USED]):
        best = -1
        best_value = -INFINITY
        for group in range(n_groups):
            value = values[group]
            if value == value and (best < 0 or value > best_value) and value != INFINITY:
                best = group
                best_value = value
        if best >= 0:
            values[best] = INFINITY  # chosen
    for group in range(n_groups):
        if values[group] != INFINITY:
            for i in range(group * size, (group + 1) * size):
                wanted[i] = -INFINITY


cdef void route_row(ox_program *program, const ox_op *op, const float *logits, float *scores, float *wanted,
                    float *choice) noexcept nogil:
    # choice: the numbers of the experts, ascending, then their weights
    cdef int32_t n = op.integers[ROUTE_EXPERTS], n_used = op.integers[ROUTE_USED], used, i, j, best
    cdef float total = 0, weight
    score(program, op, logits, scores)
    for i in range(n):
        wanted[i] = scores[i] + op.vectors[0][i] if op.vectors[0] != NULL else scores[i]
        if wanted[i] == INFINITY:  # the mark of those that are chosen
            wanted[i] = FLT_MAX
    if op.integers[ROUTE_GROUPS] > 1:
        forbid_groups(op, wanted)
    for used in range(n_used):
        # Ties go to the lower number. A NaN is never greater, so it leaves the lowest that is left; the logits show it.
        best = -1
        for i in range(n):
            if wanted[i] != INFINITY and (best < 0 or wanted[i] > wanted[best]):
                best = i
        wanted[best] = INFINITY
        j = used
        while j > 0 and choice[j - 1] > best:
            choice[j] = choice[j - 1]
            j -= 1
        choice[j] = best
    for j in range(n_used):
        choice[n_used + j] = scores[<int32_t>choice[j]]
    if op.integers[ROUTE_SCORES] == OX_SCORES_CHOSEN_SOFTMAX:
        softmax(program, n_used, choice + n_used)
    if op.integers[ROUTE_RENORMALISES]:
        for j in range(n_used):
            total += choice[n_used + j]
        total = max(total, op.floats[ROUTE_LEAST])
        for j in range(n_used):
            choice[n_used + j] /= total
    for j in range(n_used):
        weight = choice[n_used + j] * op.floats[ROUTE_SCALE]
        choice[n_used + j] = weight


cdef void route(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # src: scores of all experts; dst: choice, and two rows of working space; vectors[0]: what is added only to choose
    cdef int32_t row
    for row in range(first, last):
        route_row(program, op, row_of(program, op.src[0], row), row_of(program, op.dst[1], row),
                  row_of(program, op.dst[2], row), row_of(program, op.dst[0], row))


# What is known of a step's rows once everybody has chosen, in program.routes:
#   starts [n_experts + 1]   the first row of each expert; rows [starts[e], starts[e + 1]) are its own
#   active [n_experts]       the experts that have rows, and how many they are in the last place
#   tokens [n_rows]          whose row it is
#   places [n_rows]          where the row of a token's j-th expert is: places[token * n_used + j]

cdef inline int32_t *starts_of(const ox_program *program) noexcept nogil:
    return program.routes

cdef inline int32_t *active_of(const ox_program *program, int32_t n_experts) noexcept nogil:
    return program.routes + n_experts + 1

cdef inline int32_t *tokens_of(const ox_program *program, int32_t n_experts) noexcept nogil:
    return program.routes + 2 * n_experts + 2

cdef inline int32_t *places_of(const ox_program *program, int32_t n_experts, int32_t n_used) noexcept nogil:
    return tokens_of(program, n_experts) + program.max_tokens * n_used


cdef void prepare_dispatch(ox_program *program, const ox_op *op) noexcept nogil:
    cdef size_t needed = 2 * <size_t>op.integers[0] + 2 + 2 * <size_t>program.max_tokens * op.integers[1]
    program.routes_size = max(program.routes_size, needed)


cdef void dispatch(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                   const ox_member *member) noexcept nogil:
    # src: choice. Counting sort, stable, so that an expert's rows are in the order of the tokens.
    cdef int32_t n_experts = op.integers[0], n_used = op.integers[1]
    cdef int32_t *starts = starts_of(program)
    cdef int32_t *active = active_of(program, n_experts)
    cdef int32_t *tokens = tokens_of(program, n_experts)
    cdef int32_t *places = places_of(program, n_experts, n_used)
    cdef int32_t token, j, expert, n, n_active = 0, total = 0
    cdef const float *choice
    if member.index != 0:
        return
    memset(starts, 0, (n_experts + 1) * sizeof(int32_t))
    for token in range(n_rows):
        choice = row_of(program, op.src[0], token)
        for j in range(n_used):
            starts[<int32_t>choice[j]] += 1
    for expert in range(n_experts):
        n = starts[expert]
        if n > 0:
            active[n_active] = expert
            n_active += 1
        starts[expert] = total
        total += n
    active[n_experts] = n_active
    for token in range(n_rows):
        choice = row_of(program, op.src[0], token)
        for j in range(n_used):
            expert = <int32_t>choice[j]
            places[token * n_used + j] = starts[expert]
            tokens[starts[expert]] = token * n_used + j
            starts[expert] += 1
    for expert in range(n_experts, 0, -1):
        starts[expert] = starts[expert - 1]
    starts[0] = 0


cdef void gather(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # dst (one row for each expert of a token, in the order of experts) = the token's row of src[0], with `weighs` times
    # the expert's weight in src[1]
    cdef int32_t row, of, n_used = op.integers[1]
    cdef int32_t width = program.buffers[op.dst[0]].width
    cdef const int32_t *tokens = tokens_of(program, op.integers[0])
    for row in range(first, last):
        of = tokens[row]
        if op.integers[2]:
            program.kernels.scale(width, row_of(program, op.src[1], of // n_used)[n_used + of % n_used],
                                  row_of(program, op.src[0], of // n_used), row_of(program, op.dst[0], row))
        else:
            memcpy(row_of(program, op.dst[0], row), row_of(program, op.src[0], of // n_used), width * sizeof(float))


cdef void combine(ox_program *program, const ox_op *op, ox_batch *batch, int32_t first, int32_t last) noexcept nogil:
    # dst = sum of the rows of a token's experts in src[0], ascending, each times its weight in src[1] (unless it was
    # applied before)
    cdef int32_t row, j, n_used = op.integers[1]
    cdef int32_t width = program.buffers[op.dst[0]].width
    cdef const int32_t *places = places_of(program, op.integers[0], n_used)
    cdef const float *choice
    cdef const float *part
    cdef float weight
    cdef float *out
    for row in range(first, last):
        choice = row_of(program, op.src[1], row)
        out = row_of(program, op.dst[0], row)
        for j in range(n_used):
            part = row_of(program, op.src[0], places[row * n_used + j])
            weight = 1 if op.integers[2] else choice[n_used + j]
            if j == 0:
                program.kernels.scale(width, weight, part, out)
            else:
                program.kernels.add_scaled(width, out, weight, part, out)


cdef size_t expert_product_scratch(const ox_program *program, const ox_op *op) noexcept nogil:
    return program.kernels.matmul_scratch(program.max_tokens) + 2 * program.max_tokens * OX_GROUP_ROWS * sizeof(float)


cdef ox_adapted_rows adapted_by_experts(const ox_program *program, const ox_op *op, const ox_batch *batch,
                                        int32_t n_rows) noexcept nogil:
    """The rows of a mixture, which are in the order of its experts."""
    cdef ox_adapted_rows rows = adapted_rows(program, op, batch)
    rows.of = tokens_of(program, op.integers[0])
    rows.n_each = n_rows // rows.n_base
    return rows


cdef void shrink_experts(ox_program *program, const ox_op *op, ox_batch *batch, int32_t n_rows,
                         const ox_member *member) noexcept nogil:
    cdef ox_adapted_rows rows = adapted_by_experts(program, op, batch, n_rows)
    cdef const int32_t *starts = starts_of(program)
    cdef const int32_t *active = active_of(program, op.integers[0])
    cdef int32_t i = member.index
    while i < active[op.integers[0]]:
        shrink_rows(&rows, active[i], starts[active[i]], starts[active[i] + 1], member)
        i += member.size


cdef void expert_product(ox_program *program, const ox_op *op, ox_batch *batch, int32_t *counter, int32_t n_rows,
                         const ox_member *member) noexcept nogil:
    # dst = mats[0] of the row's expert . src; with a second matrix f(mats[0] . src) * (mats[1] . src).
    # vectors: of each matrix the factors of the experts' products, or NULL
    cdef int32_t n_experts = op.integers[0], groups = groups_of(&op.mats[0])
    cdef const int32_t *starts = starts_of(program)
    cdef const int32_t *active = active_of(program, n_experts)
    cdef ox_share share = share_of(active[n_experts] * groups, program.shared, member)
    cdef ox_buffer *out = &program.buffers[op.dst[0]]
    cdef float *gate = <float *>(member.scratch + program.kernels.matmul_scratch(program.max_tokens))
    cdef float *up = gate + program.max_tokens * OX_GROUP_ROWS
    cdef float *to
    cdef ox_activations acts
    cdef ox_matrix matrix
    cdef int32_t item, expert, n, row, width
    cdef ox_adapted_rows rows = adapted_by_experts(program, op, batch, n_rows)
    while True:
        item = share_take(&share, counter)
        if item < 0:
            return
        expert = active[item // groups]
        item %= groups
        n = starts[expert + 1] - starts[expert]
        acts = rows_from(&program.buffers[op.src[0]].acts, starts[expert])
        to = out.data + starts[expert] * out.stride + item * OX_GROUP_ROWS
        matrix = matrix_of(&op.mats[0], expert, op.vectors[0])
        if op.n_mats == 1:
            program.kernels.matmul_group(&matrix, item, &acts, n, to, out.stride, 0, member.scratch)
            if batch.n_sets > 0:
                expand(&rows, 0, expert, item, starts[expert], starts[expert + 1], to, out.stride, member)
            continue
        program.kernels.matmul_group(&matrix, item, &acts, n, gate, OX_GROUP_ROWS, 0, member.scratch)
        matrix = matrix_of(&op.mats[1], expert, op.vectors[1])
        program.kernels.matmul_group(&matrix, item, &acts, n, up, OX_GROUP_ROWS, 0, member.scratch)
        if batch.n_sets > 0:
            expand(&rows, 0, expert, item, starts[expert], starts[expert + 1], gate, OX_GROUP_ROWS, member)
            expand(&rows, 1, expert, item, starts[expert], starts[expert + 1], up, OX_GROUP_ROWS, member)
        width = min(OX_GROUP_ROWS, op.mats[0].rows - item * OX_GROUP_ROWS)
        for row in range(n):
            program.kernels.gated(<ox_activation>op.integers[1], width, gate + row * OX_GROUP_ROWS,
                                  up + row * OX_GROUP_ROWS, op.floats, to + row * out.stride)


cdef Operation kind = register_rows("route", "routing", route,
                                    ("n_experts", "n_used", "scores", "n_groups", "n_groups_used", "renormalises"),
                                    ("scale", "least"))
kind = register_work("dispatch", "routing", dispatch, ("n_experts", "n_used"), ())
kind.c.prepare = prepare_dispatch
register_rows("gather", "routing", gather, ("n_experts", "n_used", "weighs"), ())
register_rows("combine", "routing", combine, ("n_experts", "n_used", "was_weighed"), ())
kind = register_work("expert_product", "experts", expert_product, ("n_experts", "function"), ("p0", "p1", "p2", "p3"))
kind.c.scratch = expert_product_scratch
kind.c.shrink = shrink_experts
