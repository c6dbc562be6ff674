"""Page-aligned memory, in huge pages where they can be had.

Huge pages are worth 5-10 % of the read bandwidth (`benchmarks/page_speed.py`), and the system gives them only to who
asks. Mostly they are also the fastest to get: clearing one takes 0.1 ms. In a virtual machine whose host takes free
memory back, a huge page that was free for seconds must be found again piece by piece, 4 ms, while small pages, of
which a kernel keeps many that are backed, cost 0.6 ms for as much. So memory that is touched at once begins with huge
pages, goes on with small ones when they turn out to be dear, and the small ones are made huge when there is nothing
to do, or now and then if there always is."""

from cpython.buffer cimport PyBuffer_FillInfo
from libc.errno cimport EINVAL, errno
from libc.stdint cimport int64_t, uintptr_t
from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

from oxillama._core.atomics cimport ox_load_relaxed_i32, ox_store_relaxed_i32

cdef extern from *:
    """
    #include <sys/mman.h>
    #ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
    #  define MADV_POPULATE_WRITE 23
    #endif
    #ifndef MADV_COLLAPSE /* Linux 6.1 */
    #  define MADV_COLLAPSE 25
    #endif
    """

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *address, size_t length, int protection, int flags, int descriptor, long offset)
    int munmap(void *address, size_t length)
    int madvise(void *address, size_t length, int advice)
    int mincore(void *address, size_t length, unsigned char *pages)
    void *MAP_FAILED
    int PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_ANONYMOUS, MAP_NORESERVE
    int MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTNEED, MADV_POPULATE_WRITE, MADV_COLLAPSE

cdef enum:
    PAGE = 4096
    HUGE_PAGE = 2 << 20
    # Processor time for touching a huge page above which small ones are cheaper.
    DEAR_NS = 1500000


cdef class Pages:
    def __cinit__(self, size_t size):
        cdef size_t slack = HUGE_PAGE if size >= HUGE_PAGE else 0
        cdef uintptr_t base
        if size > (<size_t>-1) // 2:
            raise MemoryError(f"cannot map {size} bytes")
        self._mapped = (size + slack + PAGE - 1) // PAGE * PAGE or PAGE
        self._mapping = mmap(NULL, self._mapped, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if self._mapping == MAP_FAILED:
            self._mapping = NULL
            raise MemoryError(f"cannot map {size} bytes")
        base = <uintptr_t>self._mapping
        if slack:
            base = (base + HUGE_PAGE - 1) // HUGE_PAGE * HUGE_PAGE
            madvise(<void *>base, size, MADV_HUGEPAGE)
        self.c.data = <unsigned char *>base
        self.c.size = size
        self.c.n_settled = size

    def __dealloc__(self):
        if self._mapping != NULL:
            munmap(self._mapping, self._mapped)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.c.data, self.c.size, 0, flags)

    @property
    def size(self):
        return self.c.size

    @property
    def n_resident(self):
        """Bytes of the pages that are in memory now."""
        cdef unsigned char found[1024]
        cdef size_t at = 0, n_bytes, i, n = 0
        while at < self.c.size:
            n_bytes = min(self.c.size - at, <size_t>(sizeof(found) * PAGE))
            if mincore(self.c.data + at, n_bytes, found) != 0:
                return self.c.size
            for i in range((n_bytes + PAGE - 1) // PAGE):
                n += found[i] & 1
            at += n_bytes
        return min(self.c.size, n * PAGE)

    @property
    def is_settled(self):
        """Are all pages as large as they will get?"""
        return self.c.size - self.c.n_settled < HUGE_PAGE

    def touch(self, bint small=False):
        """Makes all pages resident, small ones if so wanted."""
        if small:
            use_small_pages(&self.c)
        pages_touch(&self.c, self.c.data, self.c.size)
        pages_settle(&self.c)

    def enlarge(self):
        """Makes the next small pages one huge page; False when there is nothing left to do."""
        return pages_enlarge(&self.c)


cdef void use_small_pages(ox_pages *pages) noexcept nogil:
    ox_store_relaxed_i32(&pages.is_small, 1)
    # Huge pages that are there already stay.
    madvise(pages.data, pages.size, MADV_NOHUGEPAGE)


cdef int64_t processor_ns() noexcept nogil:
    """Of this thread, so that other programs make no page look dear."""
    cdef timespec t
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


cdef void pages_touch(ox_pages *pages, unsigned char *start, size_t size) noexcept nogil:
    cdef uintptr_t first = <uintptr_t>start // PAGE * PAGE
    cdef uintptr_t last = (<uintptr_t>start + size + PAGE - 1) // PAGE * PAGE
    cdef int64_t begin = processor_ns(), spent
    # A kernel that cannot do it leaves the pages to whoever writes first, as they come.
    madvise(<void *>first, last - first, MADV_POPULATE_WRITE)
    if not ox_load_relaxed_i32(&pages.is_small):
        spent = processor_ns() - begin
        if spent > DEAR_NS * <int64_t>max(1, (last - first) // HUGE_PAGE):
            use_small_pages(pages)


cdef size_t pages_populate(ox_pages *pages, size_t first, size_t last) noexcept nogil:
    first = first // PAGE * PAGE
    last = min(pages.size, (last + HUGE_PAGE - 1) // HUGE_PAGE * HUGE_PAGE)
    madvise(pages.data + first, (last - first + PAGE - 1) // PAGE * PAGE, MADV_POPULATE_WRITE)
    return last


cdef void pages_settle(ox_pages *pages) noexcept nogil:
    if ox_load_relaxed_i32(&pages.is_small):
        ox_store_relaxed_i32(&pages.is_small, 0)
        pages.n_settled = 0
        # The system, too, makes them huge with time, should nobody call pages_enlarge().
        madvise(pages.data, pages.size, MADV_HUGEPAGE)


cdef bint pages_enlarge(ox_pages *pages) noexcept nogil:
    if pages.size - pages.n_settled < HUGE_PAGE:
        return False
    if madvise(pages.data + pages.n_settled, HUGE_PAGE, MADV_COLLAPSE) != 0 and errno == EINVAL:
        pages.n_settled = pages.size
        return False
    # Where there was no memory for it the pages stay small.
    pages.n_settled += HUGE_PAGE
    return True


cdef void release_pages(const void *start, size_t size) noexcept nogil:
    cdef uintptr_t first = (<uintptr_t>start + PAGE - 1) // PAGE * PAGE
    cdef uintptr_t last = (<uintptr_t>start + size) // PAGE * PAGE
    if last > first:
        madvise(<void *>first, last - first, MADV_DONTNEED)
