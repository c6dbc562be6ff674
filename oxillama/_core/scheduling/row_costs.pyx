"""Moving averages of step times by rows; the contract stands in the .pxd."""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    # Rows that were never seen in one step are guessed to cost one part in this many of it each, until they are.
    ROWS_PER_STEP = 10

# A step must be this much better with drafts: averages are noisy, and a step without them is a known quantity.
cdef double MARGIN = 1.05
# Rows that fair drafts could not pay for are believed to be a little cheaper each time, so that they are tried again.
cdef double FORGETTING = 0.998


cdef void row_costs_observe(ox_row_costs *costs, int32_t n_rows, int64_t step_ns) noexcept nogil:
    cdef double *average
    if not 1 <= n_rows <= OX_COSTED_ROWS or step_ns <= 0:
        return
    average = &costs.step_ns[n_rows]
    if average[0] <= 0:
        average[0] = <double> step_ns
    else:
        # A step that the system has interrupted says little.
        average[0] += (min(<double> step_ns, 2 * average[0]) - average[0]) / 4


cdef double cost(const ox_row_costs *costs, int32_t n_rows) noexcept nogil:
    cdef int32_t known = n_rows
    while known > 1 and costs.step_ns[known] <= 0:
        known -= 1
    return costs.step_ns[known] * (1 + <double> (n_rows - known) / ROWS_PER_STEP)


cdef int32_t row_costs_worthwhile(ox_row_costs *costs, int32_t n_rows, int32_t n, double chance,
                                  double draft_ns) noexcept nogil:
    cdef int32_t i, best = 0
    cdef double expected = n_rows, is_right = 1, rate, best_rate, plain_rate, duration
    cdef bint may_pay = False
    if not 1 <= n_rows <= OX_COSTED_ROWS or costs.step_ns[n_rows] <= 0:
        return 0
    plain_rate = MARGIN * n_rows / costs.step_ns[n_rows]
    best_rate = plain_rate
    n = min(n, OX_COSTED_ROWS - n_rows)
    for i in range(1, n + 1):
        is_right *= chance
        expected += is_right
        duration = cost(costs, n_rows + i) + i * draft_ns
        rate = expected / duration
        may_pay = may_pay or (n_rows + 0.5 * i) / duration > plain_rate
        if rate > best_rate:
            best = i
            best_rate = rate
    if not may_pay:
        for i in range(1, n + 1):
            costs.step_ns[n_rows + i] *= FORGETTING
    return best
