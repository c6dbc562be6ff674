"""Page-aligned memory that asks for huge pages, and its limits."""

cdef class Pages:
    # `size` bytes of zeroed anonymous memory, 2 MiB-aligned when that large, unmapped with the object.
    cdef unsigned char *data
    cdef readonly size_t size
    cdef void *_mapping
    cdef size_t _mapped

# Lets go of the whole pages in a stretch of memory. A file mapping reads them again when they are touched; those of
# other memory come back as zeros.
cdef void release_pages(const void *start, size_t size) noexcept nogil
