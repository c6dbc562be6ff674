"""The products with adapters: `f A . x` of all rows of an operation before it (shrink), `B . t` behind each group of
its output columns (expand). The orders of all sums depend on shapes alone; see docs/design/adapters.md."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t

from oxillama._core.network.executor cimport ox_batch, ox_member, ox_op, ox_program

cdef enum:
    OX_FEW_ROWS = 32             # with no more, threads divide the stretches of an input rather than the rows

# Before a step: which set each row has. Sets batch.n_sets; what it leaves at 0 needs none of the rest.
cdef void adapt_batch(ox_program *program, ox_batch *batch) noexcept nogil
# Is anything applied to a row of the batch at this operation? The same for every member.
cdef bint site_is_adapted(const ox_batch *batch, const ox_op *op) noexcept nogil

# Rows of one operation, and whose they are: row r is that of row `of[r] // n_each` of its space, or r % n_base.
ctypedef struct ox_adapted_rows:
    const ox_program *program
    const ox_op *op
    const ox_batch *batch
    int32_t n_base
    const int32_t *of            # NULL where rows are in the order of their space
    int32_t n_each

cdef ox_adapted_rows adapted_rows(const ox_program *program, const ox_op *op, const ox_batch *batch) noexcept nogil

# All A . x of a plain product, divided among the members. For ox_operation.shrink.
cdef void shrink_product(ox_program *program, const ox_op *op, ox_batch *batch, int32_t n_rows,
                         const ox_member *member) noexcept nogil
# Those of rows [first, end) with the matrices of member `index` of a stack, by this thread alone.
cdef void shrink_rows(const ox_adapted_rows *rows, int32_t index, int32_t first, int32_t end,
                      const ox_member *member) noexcept nogil
# Adds what adapters give to column group `group` of matrix `number` for rows [first, end); out: of row `first`.
cdef void expand(const ox_adapted_rows *rows, int32_t number, int32_t index, int32_t group, int32_t first, int32_t end,
                 float *out, size_t out_stride, const ox_member *member) noexcept nogil
# Adds what adapters give to a row of embeddings, row `index` of the table.
cdef void embed_adapted(ox_program *program, const ox_op *op, const ox_batch *batch, int32_t row, int32_t index,
                        float *out) noexcept nogil
# Scratch that a member needs for all this, in bytes.
cdef size_t adapter_scratch(const ox_program *program) noexcept nogil
