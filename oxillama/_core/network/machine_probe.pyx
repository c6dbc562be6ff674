# cython: binding=True
"""Measures what the machine can do: sequential read bandwidth and multiply-add rates, per number of threads.

A figure of a kernel means little without these in the same minute: neighbours on a shared host change both."""

from time import perf_counter

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.mman cimport MADV_HUGEPAGE, madvise
from posix.stdlib cimport posix_memalign

from oxillama._core.network.kernels import active_level, usable_levels
from oxillama._core.network.team cimport Team, ox_team_together

cdef extern from "machine_probe.h" nogil:
    uint64_t ox_probe_read(const uint8_t *data, size_t bytes) noexcept
    int64_t ox_probe_dot(const char *level) noexcept
    int64_t ox_probe_fma(const char *level) noexcept

ctypedef int64_t (*Loop)(const char *level) noexcept nogil

ctypedef struct Turn:
    # A loop that every member of a team runs once, and how many multiply-adds that was for each.
    Loop loop
    const char *level
    int64_t operations

cdef size_t HUGE_PAGE = 2 << 20


def _positive(str name, long value):
    if value < 1:
        raise ValueError(f"{name} must be at least 1, found {value}")


ctypedef struct Reads:
    uint8_t *data
    size_t part                # bytes of each member
    uint64_t kept              # a result nobody uses would let the compiler drop the reads


cdef void read_part(void *context, int32_t item, int32_t place) noexcept nogil:
    cdef Reads *reads = <Reads *>context
    cdef uint64_t found = ox_probe_read(reads.data + place * reads.part, reads.part)
    if place == 0:
        reads.kept ^= found


cdef void run_loop(void *context, int32_t item, int32_t place) noexcept nogil:
    cdef Turn *turn = <Turn *>context
    cdef int64_t operations = turn.loop(turn.level)
    if place == 0:
        turn.operations = operations


cdef class ReadProbe:
    cdef uint8_t *data
    cdef Reads reads
    cdef Team team
    cdef readonly int n_threads

    def __cinit__(self, *, int n_threads=1, size_t megabytes=256):
        _positive("n_threads", n_threads)
        _positive("megabytes", megabytes)
        cdef size_t size = (megabytes << 20) // HUGE_PAGE * HUGE_PAGE
        self.n_threads = n_threads
        self.team = Team(n_threads)
        self.reads.part = size // n_threads // 4096 * 4096
        if posix_memalign(<void **>&self.data, HUGE_PAGE, max(size, HUGE_PAGE)):
            self.data = NULL
            raise MemoryError(f"cannot allocate {megabytes} MiB for the bandwidth probe")
        madvise(self.data, size, MADV_HUGEPAGE)
        memset(self.data, 1, size)
        self.reads.data = self.data

    def __dealloc__(self):
        free(self.data)

    def run(self):
        started = perf_counter()
        with nogil:
            ox_team_together(self.team.c, read_part, &self.reads)
        return self.reads.part * self.n_threads / (perf_counter() - started) / 1e9


def read_bandwidth(*, int n_threads=1, size_t megabytes=256, int repeats=7):
    _positive("repeats", repeats)
    probe = ReadProbe(n_threads=n_threads, megabytes=megabytes)
    return sorted([probe.run() for _ in range(repeats)])[repeats // 2]


def int8_rate(*, level=None, int n_threads=1, int repeats=7):
    return _rate(ox_probe_dot, level, n_threads, repeats)


def float_rate(*, level=None, int n_threads=1, int repeats=7):
    return _rate(ox_probe_fma, level, n_threads, repeats)


cdef double _rate(Loop loop, level, int n_threads, int repeats) except -1:
    _positive("n_threads", n_threads)
    _positive("repeats", repeats)
    name = active_level() if level is None else level
    if name not in usable_levels():
        raise ValueError(f"instruction-set level {name!r} is not usable here; usable: {', '.join(usable_levels())}")
    encoded = name.encode()
    cdef Team team = Team(n_threads)
    cdef Turn turn
    turn.loop = loop
    turn.level = encoded
    turn.operations = 0
    rates = []
    for _ in range(repeats):
        started = perf_counter()
        with nogil:
            ox_team_together(team.c, run_loop, &turn)
        rates.append(2 * turn.operations * n_threads / (perf_counter() - started) / 1e9)
    return sorted(rates)[repeats // 2]
