/* Shims that Cython cannot express: where threads wait for each other, and the floating-point mode of a thread.
 *
 * A gate is a number that somebody advances and others wait for. The barrier of a step is made of it: it spins, then
 * sleeps. Whoever spins while a member of the team is preempted pays with its own share of the processor; how long it
 * spins follows from what waiting was good for lately. It never yields: Linux takes that for a turn given up, and the
 * thread comes back a time slice late, whereas a sleeper that is woken goes first (compare.py's busy run shows it). */
#ifndef OX_THREADS_H
#define OX_THREADS_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* Turns of spinning, some 40 cycles each: at most, and where the team has been kept waiting for long. A wait below
 * OX_BARRIER_WORTH_NS would better have been spun through: falling asleep and waking cost about as much. */
enum { OX_BARRIER_MOST_SPINS = 4000, OX_BARRIER_LEAST_SPINS = 60, OX_BARRIER_WORTH_NS = 60000 };
/* Where a member may be waking up, or holds something long, others spin this many times as long, about a millisecond:
 * who falls asleep there keeps the others waiting at the next barrier, and so on. */
enum { OX_PATIENCE = 20 };
/* A wait for a member that was not running costs some milliseconds; one in so long a time is no reason to change
 * anything. */
enum { OX_BARRIER_FORGET_NS = 20000000 };

enum { OX_LINE = 64 }; /* bytes of a cache line */

typedef struct ox_gate {
    atomic_uint turn; /* wraps */
    atomic_int sleepers;
} ox_gate;

/* The counters lie in different cache lines. By distance, not by alignment, which an allocator need not keep. */
typedef struct ox_barrier {
    atomic_int arrived;
    char apart[OX_LINE - sizeof(atomic_int)];
    ox_gate gate;         /* its turn: how often everybody has arrived */
    atomic_int spins;     /* turns before the next sleep; a hint, so any member may change it at any time */
    atomic_uint unjudged; /* the turn whose wait says nothing about the processors: members may just be waking up */
    char from_others[OX_LINE - 4 * sizeof(atomic_int)];
    int64_t forgotten_ns; /* of whoever calls the team: when a long wait was last forgotten */
} ox_barrier;

static inline void ox_pause(void) {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static inline void ox_gate_init(ox_gate *gate) {
    atomic_init(&gate->turn, 0);
    atomic_init(&gate->sleepers, 0);
}

static inline unsigned ox_gate_turn(ox_gate *gate) { return atomic_load_explicit(&gate->turn, memory_order_acquire); }

/* Everything written before it is visible to whoever has waited for this turn. One caller at a time. */
static inline void ox_gate_open(ox_gate *gate, unsigned turn) {
    /* seq_cst with the sleepers' increment: either they see the new turn, or we see them. */
    atomic_store(&gate->turn, turn);
#if defined(__linux__)
    if (atomic_load(&gate->sleepers) > 0)
        syscall(SYS_futex, &gate->turn, FUTEX_WAKE_PRIVATE, INT32_MAX, 0, 0, 0);
#endif
}

/* Returns when the turn is another one; does not use the processor after so many turns of spinning. */
static inline void ox_gate_wait(ox_gate *gate, unsigned turn, int spins) {
    for (int i = 0; i < spins; i++) {
        if (ox_gate_turn(gate) != turn) return;
        ox_pause();
    }
#if defined(__linux__)
    atomic_fetch_add(&gate->sleepers, 1);
    while (atomic_load(&gate->turn) == turn) syscall(SYS_futex, &gate->turn, FUTEX_WAIT_PRIVATE, turn, 0, 0, 0);
    atomic_fetch_sub(&gate->sleepers, 1);
#else
    while (ox_gate_turn(gate) == turn) sched_yield();
#endif
}

static inline void ox_barrier_init(ox_barrier *barrier) {
    atomic_init(&barrier->arrived, 0);
    ox_gate_init(&barrier->gate);
    atomic_init(&barrier->spins, OX_BARRIER_MOST_SPINS);
    atomic_init(&barrier->unjudged, 0);
    barrier->forgotten_ns = 0;
}

static inline int ox_barrier_spins(ox_barrier *barrier) {
    return atomic_load_explicit(&barrier->spins, memory_order_relaxed);
}

/* Before members are called that may be asleep: how long they take to the next barrier does not count. */
static inline void ox_barrier_excuse(ox_barrier *barrier) {
    atomic_store_explicit(&barrier->unjudged, ox_gate_turn(&barrier->gate), memory_order_relaxed);
}

/* Have members been kept from running lately, so that work should go to whoever is there? Never affects results. */
static inline int ox_barrier_is_crowded(ox_barrier *barrier) {
    return ox_barrier_spins(barrier) <= OX_BARRIER_MOST_SPINS / 8;
}

static inline void ox_barrier_set_spins(ox_barrier *barrier, int spins) {
    atomic_store_explicit(&barrier->spins,
                          spins > OX_BARRIER_MOST_SPINS    ? OX_BARRIER_MOST_SPINS
                          : spins < OX_BARRIER_LEAST_SPINS ? OX_BARRIER_LEAST_SPINS
                                                           : spins,
                          memory_order_relaxed);
}

/* Between two works of the team: forgets one long wait, if the last was forgotten long enough ago. Waits that are short
 * enough to be spun through would otherwise never tell that the processors are free again. */
static inline void ox_barrier_forget(ox_barrier *barrier, int64_t now) {
    if (now - barrier->forgotten_ns < OX_BARRIER_FORGET_NS) return;
    barrier->forgotten_ns = now;
    ox_barrier_set_spins(barrier, 2 * ox_barrier_spins(barrier));
}

/* The benefit of the doubt, after a time in which nothing was learned: the next two long waits decide. */
static inline void ox_barrier_try_again(ox_barrier *barrier, int64_t now) {
    barrier->forgotten_ns = now;
    if (ox_barrier_is_crowded(barrier)) ox_barrier_set_spins(barrier, OX_BARRIER_MOST_SPINS / 2);
}

static inline int64_t ox_barrier_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* All `n` members must call this; everything written before it by any of them is visible after it to all. */
static inline void ox_barrier_wait(ox_barrier *barrier, int n) {
    if (n == 1) return;
    const unsigned turn = ox_gate_turn(&barrier->gate);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) + 1 == n) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        ox_gate_open(&barrier->gate, turn + 1);
        return;
    }
    const int spins = ox_barrier_spins(barrier);
    const int excused = turn == atomic_load_explicit(&barrier->unjudged, memory_order_relaxed);
    const int64_t begin = ox_barrier_now();
    for (int i = 0; i < (excused ? OX_PATIENCE * spins : spins); i++) {
        if (ox_gate_turn(&barrier->gate) != turn) return;
        ox_pause();
    }
    ox_gate_wait(&barrier->gate, turn, 0);
    if (excused) return;
    ox_barrier_set_spins(barrier, ox_barrier_now() - begin < OX_BARRIER_WORTH_NS ? spins * 2 : spins / 2);
}

/* Round to nearest, no flushing of denormals: what the exactness contract assumes. Returns the mode it replaced. */
static inline uint64_t ox_default_fp_mode(void) {
#if defined(__x86_64__)
    uint64_t before = _mm_getcsr();
    _mm_setcsr(0x1f80);
    return before;
#elif defined(__aarch64__)
    uint64_t before, zero = 0;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(before));
    __asm__ __volatile__("msr fpcr, %0" : : "r"(zero));
    return before;
#else
    return 0;
#endif
}

static inline void ox_restore_fp_mode(uint64_t mode) {
#if defined(__x86_64__)
    _mm_setcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ __volatile__("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

#endif
