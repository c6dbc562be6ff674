/* A team of threads that is made once and then called for pieces of work, by one leader at a time, who takes part.
 *
 * Two kinds of work. *Together*: every member once, each in its own place, free to meet at the team's barrier; nobody
 * can be missing. *Shared*: items that whoever is there takes one by one; the leader waits for items that somebody has
 * begun, never for a member that has begun none. A member kept from running then costs its help and no more.
 *
 * `call` says all there is to know of the newest work in one word: its turn, and what is left to take of it. A member
 * that comes late finds another turn in it, or nothing left, and has touched nothing. Work and context are read only
 * by those who are waited for: members of work together, and takers of an item that is not done. */
#ifndef OX_TEAM_H
#define OX_TEAM_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "threads.h"
#include "worker_thread.h"

/* place: which member does it, 0 for the leader. The item of work together is the place. */
typedef void (*ox_team_work)(void *context, int32_t item, int32_t place);

#define OX_TEAM_TOGETHER UINT32_MAX /* left to take, instead of a number */
#define OX_TEAM_QUIT (UINT32_MAX - 1)

struct ox_team;

typedef struct ox_team_member {
    struct ox_team *team;
    unsigned long thread;
} ox_team_member;

typedef struct ox_team {
    ox_barrier barrier;
    ox_gate calls; /* its turn: of the newest work */
    char apart[OX_LINE - sizeof(ox_gate)];
    _Atomic uint64_t call; /* turn << 32 | left to take */
    char from_counts[OX_LINE - sizeof(uint64_t)];
    atomic_int unfinished; /* shared items */
    ox_gate finished;      /* its turn: of the last shared work of which all items are done */
    char from_work[OX_LINE - sizeof(atomic_int) - sizeof(ox_gate)];
    ox_team_work work;
    void *context;
    int32_t n_items;
    int32_t size; /* the leader and its members; changed by the leader alone */
    ox_team_member members[];
} ox_team;

/* Of who waits for work, which after a step comes soon, or for the last item of another. */
static inline int ox_team_spins(ox_team *team) { return OX_PATIENCE * ox_barrier_spins(&team->barrier); }

static inline void ox_team_take(ox_team *team, unsigned turn, int32_t place) {
    uint64_t call = atomic_load_explicit(&team->call, memory_order_acquire);
    while ((unsigned)(call >> 32) == turn && (uint32_t)call != 0) {
        if (!atomic_compare_exchange_weak_explicit(&team->call, &call, call - 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        team->work(team->context, team->n_items - (int32_t)(uint32_t)call, place);
        if (atomic_fetch_sub_explicit(&team->unfinished, 1, memory_order_acq_rel) == 1)
            ox_gate_open(&team->finished, turn);
        call = atomic_load_explicit(&team->call, memory_order_acquire);
    }
}

static inline void *ox_team_main(void *argument) {
    ox_team_member *me = (ox_team_member *)argument;
    ox_team *team = me->team;
    const int32_t place = (int32_t)(me - team->members);
    unsigned turn = 0;
    ox_default_fp_mode();
    for (;;) {
        ox_gate_wait(&team->calls, turn, ox_team_spins(team));
        turn = ox_gate_turn(&team->calls);
        const uint64_t call = atomic_load_explicit(&team->call, memory_order_acquire);
        if ((unsigned)(call >> 32) != turn) continue; /* over already, and the next is about to be called */
        if ((uint32_t)call == OX_TEAM_QUIT) return NULL;
        if ((uint32_t)call == OX_TEAM_TOGETHER) {
            team->work(team->context, place, place);
            ox_barrier_wait(&team->barrier, team->size);
        } else {
            ox_team_take(team, turn, place);
        }
    }
}

static inline unsigned ox_team_call(ox_team *team, uint32_t left) {
    const unsigned turn = ox_gate_turn(&team->calls) + 1;
    atomic_store_explicit(&team->call, (uint64_t)turn << 32 | left, memory_order_release);
    ox_gate_open(&team->calls, turn);
    return turn;
}

/* Every member does its part once, and all of them have when this returns. NULL is a team of the leader alone. */
static inline void ox_team_together(ox_team *team, ox_team_work work, void *context) {
    if (team == NULL || team->size == 1) {
        work(context, 0, 0);
        return;
    }
    team->work = work;
    team->context = context;
    ox_barrier_excuse(&team->barrier);
    ox_team_call(team, OX_TEAM_TOGETHER);
    work(context, 0, 0);
    ox_barrier_wait(&team->barrier, team->size);
}

/* Each of the items [0, n) is done once, by anybody, in no order; all are done when this returns. */
static inline void ox_team_share(ox_team *team, int32_t n, ox_team_work work, void *context) {
    if (team == NULL || team->size == 1 || n <= 1) {
        for (int32_t item = 0; item < n; item++) work(context, item, 0);
        return;
    }
    const unsigned before = ox_gate_turn(&team->finished);
    team->work = work;
    team->context = context;
    team->n_items = n;
    atomic_store_explicit(&team->unfinished, n, memory_order_relaxed);
    ox_team_take(team, ox_team_call(team, (uint32_t)n), 0);
    ox_gate_wait(&team->finished, before, ox_team_spins(team));
}

/* Members end and are joined; the leader goes on alone. No work may be under way. */
static inline void ox_team_stop(ox_team *team) {
    if (team->size > 1) ox_team_call(team, OX_TEAM_QUIT);
    for (int32_t place = 1; place < team->size; place++) ox_thread_join(team->members[place].thread);
    team->size = 1;
}

/* `size` threads, the caller among them. Returns 0, or an errno value and in *size how many there could have been. */
static inline int ox_team_start(ox_team **made, int32_t *size) {
    ox_team *team = (ox_team *)calloc(1, sizeof(ox_team) + (size_t)*size * sizeof(ox_team_member));
    int status = 0;
    if (team == NULL) {
        *size = 0;
        return ENOMEM;
    }
    ox_barrier_init(&team->barrier);
    ox_gate_init(&team->calls);
    ox_gate_init(&team->finished);
    atomic_init(&team->call, 0);
    atomic_init(&team->unfinished, 0);
    /* Members read the size only once there is work. */
    for (team->size = 1; team->size < *size; team->size++) {
        ox_team_member *member = &team->members[team->size];
        char name[24];
        snprintf(name, sizeof name, "oxillama-%d", team->size);
        member->team = team;
        status = ox_thread_start(&member->thread, ox_team_main, member, name);
        if (status != 0) break;
    }
    if (status != 0) {
        *size = team->size;
        ox_team_stop(team);
        free(team);
        return status;
    }
    *made = team;
    return 0;
}

#endif
