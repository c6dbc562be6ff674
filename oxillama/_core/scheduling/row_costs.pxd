"""What steps cost by their rows, measured as they run, and so how many drafts are worth a place in the next one."""

from libc.stdint cimport int32_t, int64_t

cdef enum:
    OX_COSTED_ROWS = 16

# Moving averages of steps that only continue outputs; 0 until measured.
ctypedef struct ox_row_costs:
    double step_ns[OX_COSTED_ROWS + 1]  # [rows]

cdef void row_costs_observe(ox_row_costs *costs, int32_t n_rows, int64_t step_ns) noexcept nogil
# Of n drafts beside n_rows rows, how many make tokens cheapest; 0 when none does so clearly. chance: of each to be
# right when those before it are. draft_ns: what it takes to guess one.
cdef int32_t row_costs_worthwhile(ox_row_costs *costs, int32_t n_rows, int32_t n, double chance,
                                  double draft_ns) noexcept nogil
