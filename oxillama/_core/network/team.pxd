"""A team of threads, made once and called for pieces of work; see csrc/team.h for what members may rely on."""

from libc.stdint cimport int32_t, int64_t

cdef extern from "threads.h" nogil:
    ctypedef struct ox_barrier:
        pass
    void ox_barrier_wait(ox_barrier *barrier, int n) noexcept
    bint ox_barrier_is_crowded(ox_barrier *barrier) noexcept
    # Between two works: whether it is crowded may change with time, and be tried again.
    void ox_barrier_forget(ox_barrier *barrier, int64_t now) noexcept
    void ox_barrier_try_again(ox_barrier *barrier, int64_t now) noexcept

cdef extern from "team.h" nogil:
    ctypedef struct ox_team:
        ox_barrier barrier     # for work together
        int32_t size           # the leader and its members
    # place: which member does it, 0 for the leader.
    ctypedef void (*ox_team_work)(void *context, int32_t item, int32_t place) noexcept
    # Every member once, item == place. Both return when all is done; NULL is a team of the leader alone.
    void ox_team_together(ox_team *team, ox_team_work work, void *context) noexcept
    # Each of n items once, by whoever is there.
    void ox_team_share(ox_team *team, int32_t n, ox_team_work work, void *context) noexcept

cdef class Team:
    # Never NULL once made. One leader at a time: who has the program, or the packer, that works with the team.
    cdef ox_team *c
    cdef int _pid
    # The same for a caller that may be in a forked child, where the leader is alone: its members stayed behind.
    cdef ox_team *here(self) noexcept

# The error of a thread that the system refused: which one of how many, why (an errno value), and what sets the limit.
cdef object thread_refused(int error, int number, int total)
