"""What adapters add to a network's products, as data; who computes with it is adapter_products.pyx."""

from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport calloc, free

from oxillama._core.atomics cimport (
    ox_fetch_add_acq_rel_i32,
    ox_fetch_add_relaxed_i32,
    ox_load_acquire_i32,
    ox_load_relaxed_i32,
    ox_store_relaxed_i32,
)
from oxillama._core.network.kernels cimport OX_GROUP_ROWS
from oxillama._core.network.weights cimport PackedMatrix

# Inputs of a stretch, at least: with fewer the threads would rather add up than multiply.
LEAST_STRETCH = 128
MAX_STRETCHES = OX_STRETCHES
SITE_MATRICES = OX_SITE_MATRICES


cdef void set_pin(ox_adapter_set *adapters) noexcept nogil:
    if adapters != NULL:
        ox_fetch_add_relaxed_i32(&adapters.num_pins, 1)


cdef void set_unpin(ox_adapter_set *adapters) noexcept nogil:
    # acq_rel: whoever finds no pins left may free what the last holder has read.
    if adapters != NULL:
        ox_fetch_add_acq_rel_i32(&adapters.num_pins, -1)


cdef bint set_is_revoked(ox_adapter_set *adapters) noexcept nogil:
    return adapters != NULL and ox_load_relaxed_i32(&adapters.is_revoked) != 0


def stretches_of(int k, int rank):
    """How A, of `rank` rows of k inputs, is cut: (fold, n_blocks, n_groups, length), a function of its shape alone."""
    cdef int fold = 1, n_blocks = 1
    while 2 * fold * rank <= OX_GROUP_ROWS and k % (2 * fold) == 0 and k // (2 * fold) >= LEAST_STRETCH // 2:
        fold *= 2
    while (2 * fold * n_blocks <= OX_STRETCHES and k % (2 * fold * n_blocks) == 0
           and k // (2 * fold * n_blocks) >= LEAST_STRETCH):
        n_blocks *= 2
    return fold, n_blocks, (rank + OX_GROUP_ROWS - 1) // OX_GROUP_ROWS, k // (fold * n_blocks)


cdef class Adapter:
    """The pairs of one adapter, for a program of n_sites sites."""

    def __init__(self, int n_sites):
        self._kept = []
        self.c.sites = <ox_adapter_site *>calloc(max(n_sites, 1), sizeof(ox_adapter_site))
        if self.c.sites == NULL:
            raise MemoryError("no memory for the adapter")
        self.c.n_sites = n_sites

    def __dealloc__(self):
        free(self.c.sites)

    def add(self, int site, int number, PackedMatrix a not None, PackedMatrix b not None, *, int rank, double gain,
            tuple stretches=(1, 1, 1, 0), int same_as=-1):
        """Adds `B . (gain * A . x)` to matrix `number` of a site.

        a: A as `stretches_of` cuts it, of the shape [n_blocks * n_groups * 32, length]; or for embeddings a row for
        each of the table. b: B, [rows, rank]. same_as: another matrix of the site that has the same A."""
        cdef ox_adapter_pair *pair
        cdef ox_adapter_site *place
        if not 0 <= site < self.c.n_sites or not 0 <= number < OX_SITE_MATRICES or rank < 1:
            raise ValueError(f"matrix {number} of site {site} of {self.c.n_sites}, rank {rank}")
        place = &self.c.sites[site]
        pair = &place.pairs[number]
        if pair.rank:
            raise ValueError(f"matrix {number} of site {site} has a pair already")
        pair.rank = rank
        pair.gain = gain
        pair.fold, pair.n_blocks, pair.n_groups, pair.length = stretches
        pair.a = a.desc
        pair.b = b.desc
        if same_as >= 0:
            pair.is_shared = 1
            pair.offset = place.pairs[same_as].offset
        else:
            pair.offset = place.width
            place.width += rank
        self._kept.append((a, b))
        self.pages = a._pages

    @property
    def n_resident(self):
        """Bytes of its matrices that are in memory."""
        return self.pages.n_resident if self.pages is not None else 0


cdef class AdapterSet:
    """Adapters with their scales, in the order in which they are added. number: its id, never 0, and no other set's."""

    def __init__(self, list adapters not None, uint64_t number):
        cdef int32_t i, site
        cdef Adapter adapter
        self._adapters = tuple(adapter for adapter, _ in adapters)
        self.c.n = <int32_t>len(adapters)
        self.c.id = number
        self.c.adapters = <const ox_adapter **>calloc(max(self.c.n, 1), sizeof(ox_adapter *))
        self.c.scales = <double *>calloc(max(self.c.n, 1), sizeof(double))
        if self.c.adapters == NULL or self.c.scales == NULL:
            raise MemoryError("no memory for a set of adapters")
        for i, (adapter, scale) in enumerate(adapters):
            if adapter.c.n_sites != (<Adapter>self._adapters[0]).c.n_sites:
                raise ValueError("adapters of different programs")
            self.c.adapters[i] = &adapter.c
            self.c.scales[i] = scale
        for site in range((<Adapter>self._adapters[0]).c.n_sites if self.c.n else 0):
            self.c.width = max(self.c.width, set_width(&self.c, site))

    def __dealloc__(self):
        free(self.c.adapters)
        free(self.c.scales)

    @property
    def id(self):
        return self.c.id

    @property
    def width(self):
        """Values of A . x that a row needs room for."""
        return self.c.width

    @property
    def num_pins(self):
        """Requests that it is applied to and that have not ended."""
        return ox_load_acquire_i32(&self.c.num_pins)

    def pin(self):
        set_pin(&self.c)

    def unpin(self):
        set_unpin(&self.c)

    def revoke(self):
        """Ends the requests that have it, within a step of a worker that is woken."""
        ox_store_relaxed_i32(&self.c.is_revoked, 1)
