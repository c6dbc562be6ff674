"""Page-aligned memory, the size of its pages, and its limits."""

from libc.stdint cimport int32_t

from oxillama._core.atomics cimport ox_atomic_i32

ctypedef struct ox_pages:
    unsigned char *data
    size_t size
    ox_atomic_i32 is_small  # huge pages turned out to be dear: what is touched from now on gets small ones
    size_t n_settled        # bytes from the start whose pages are as large as they will get

cdef class Pages:
    # Zeroed anonymous memory, 2 MiB-aligned when that large, unmapped with the object.
    cdef ox_pages c
    cdef void *_mapping
    cdef size_t _mapped

# Any thread: makes the pages of a stretch resident, before it is written for the first time.
cdef void pages_touch(ox_pages *pages, unsigned char *start, size_t size) noexcept nogil
# One thread: makes bytes first to last resident, to the end of the last huge page, in pages as large as the system
# gives. Returns where that is. Where the system cannot do it, the pages come to whoever writes first.
cdef size_t pages_populate(ox_pages *pages, size_t first, size_t last) noexcept nogil
# Everything has been touched: small pages may become huge ones again.
cdef void pages_settle(ox_pages *pages) noexcept nogil
# One thread, others may read and write meanwhile: makes the next small pages one huge page, which takes a few
# milliseconds. False when there is nothing left to do.
cdef bint pages_enlarge(ox_pages *pages) noexcept nogil

# Lets go of the whole pages in a stretch of memory. A file mapping reads them again when they are touched; those of
# other memory come back as zeros.
cdef void release_pages(const void *start, size_t size) noexcept nogil
