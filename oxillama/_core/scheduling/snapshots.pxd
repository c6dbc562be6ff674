"""Recurrent states that outlive their sequences: which of a bounded number stands for the end of which cached block.

Knows numbers only; the memory is the program's. A snapshot is free, reserved (the planned step writes it), or kept: the
state behind the tokens of an indexed block and all before it. One thread uses them at a time."""

from libc.stdint cimport int32_t

cdef enum:
    OX_MAX_MARKS = 8  # of a sequence in one step

# After so many tokens of a run the state is written to a snapshot.
ctypedef struct ox_mark:
    int32_t n_tokens
    int32_t snapshot

ctypedef struct ox_snapshot:
    int32_t block         # whose end it is; -1: not kept
    int32_t num_readers   # sequences that will begin with it: not written meanwhile
    int32_t is_reserved
    int32_t previous      # list of those kept, the one that was used longest ago first
    int32_t next          # same list, or the free list

ctypedef struct ox_snapshots:
    int32_t n
    int32_t n_tokens      # one is made after so many tokens, a multiple of a block
    ox_snapshot *all      # [n]
    int32_t *of_block     # [blocks of the pool], -1: none
    int32_t *reserved     # [n_reserved]
    int32_t n_reserved
    int32_t free_head
    int32_t oldest
    int32_t newest
    int32_t num_kept

# NULL when memory is short. n: 1 or more.
cdef ox_snapshots *snapshots_create(int32_t n, int32_t n_blocks, int32_t n_tokens) noexcept nogil
cdef void snapshots_destroy(ox_snapshots *s) noexcept nogil

# One to be written: a free one, or the one that was used longest ago and has no reader; -1: there is none.
cdef int32_t snapshots_reserve(ox_snapshots *s) noexcept nogil
# The reserved one was written, and is what follows the block, unless that has one already. True: it is kept.
cdef bint snapshots_keep(ox_snapshots *s, int32_t snapshot, int32_t block) noexcept nogil
# All that are still reserved are free again: their step is over, or never happened.
cdef void snapshots_cancel(ox_snapshots *s) noexcept nogil
# The block leaves the index.
cdef void snapshots_forget(ox_snapshots *s, int32_t block) noexcept nogil
cdef void snapshots_retain(ox_snapshots *s, int32_t snapshot) noexcept nogil
cdef void snapshots_release(ox_snapshots *s, int32_t snapshot) noexcept nogil
