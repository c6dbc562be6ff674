"""What adapters add to a network's products, as data: pairs of small matrices by site, and sets that requests have."""

from libc.stdint cimport int32_t, uint64_t

from oxillama._core.atomics cimport ox_atomic_i32
from oxillama._core.memory cimport Pages
from oxillama._core.network.kernels cimport ox_matrix

cdef enum:
    OX_SITE_MATRICES = 3   # of one operation
    OX_STRETCHES = 64      # most stretches of an input
    OX_ADAPTER_ENTRIES = 1024
    OX_ADAPTER_PARTS = 1 << 18

# What an adapter adds to one matrix of an operation: B . (gain * scale * A . x). Of a stack, a pair for each member.
# A is cut into n_blocks x n_groups weight groups of `length` inputs. A group's 32 lanes are `rank` rows of A for each
# of `fold` stretches of the input, one after another; with several groups they are 32 rows each of one stretch.
# For a table of embeddings A has a row for each of its rows.
ctypedef struct ox_adapter_pair:
    int32_t rank           # 0: nothing is added
    int32_t offset         # of its `rank` values among those of its adapter at the site
    int32_t is_shared      # they are another matrix' of the operation
    int32_t fold, n_blocks, n_groups, length
    double gain            # alpha / rank
    ox_matrix a
    ox_matrix b

ctypedef struct ox_adapter_site:
    int32_t width          # values of A . x in a row, for all matrices; 0: nothing is added
    ox_adapter_pair pairs[OX_SITE_MATRICES]

ctypedef struct ox_adapter:
    int32_t n_sites
    ox_adapter_site *sites

# Adapters that are applied to a sequence together, in the order in which they are added.
cdef struct ox_adapter_set:
    ox_atomic_i32 num_pins    # requests that have it and have not ended, and who is just making one
    ox_atomic_i32 is_revoked  # they are to end
    uint64_t id               # what is cached with it; never 0
    int32_t n
    const ox_adapter **adapters  # [n]
    double *scales            # [n]
    int32_t width             # most values of A . x in a row at any site

# Room of a program for what sets make of a step's rows, all zero bytes at first. It grows with the sets in use, and is
# there before they are.
cdef struct ox_adapter_room:
    float *values             # A . x of each row of an operation
    float *parts              # [OX_ADAPTER_PARTS]: the same of single stretches
    ox_atomic_i32 *done       # [OX_ADAPTER_ENTRIES]: stretches that are there; zero between two operations

# Values of A . x in a row at a site, of all adapters of a set.
cdef inline int32_t set_width(const ox_adapter_set *adapters, int32_t site) noexcept nogil:
    cdef int32_t i, width = 0
    for i in range(adapters.n):
        width += adapters.adapters[i].sites[site].width
    return width

# NULL is allowed in all of these.
cdef void set_pin(ox_adapter_set *adapters) noexcept nogil
cdef void set_unpin(ox_adapter_set *adapters) noexcept nogil
cdef bint set_is_revoked(ox_adapter_set *adapters) noexcept nogil

cdef class Adapter:
    cdef ox_adapter c
    cdef list _kept
    cdef readonly Pages pages
    cdef object __weakref__

cdef class AdapterSet:
    cdef ox_adapter_set c
    cdef tuple _adapters
    cdef object __weakref__
