/* The team of csrc/team.h under the sanitizers: teams of several sizes, more members than processors, works of both
 * kinds in random order, members that come late. Work together meets at the barrier in between; shared work writes
 * plain memory that the leader reads afterwards, and the next work's context lies where the last one's was. Exit
 * status 0: every part was done once and seen by all. -DWEAK, which reads before the work has ended, shows that the
 * sanitizer would notice. */
#include "team.h"

enum { MOST = 7, ITEMS = 40, ROUNDS = 1500, TEAMS = 50 };

typedef struct job {
    ox_team *team;
    int32_t size, round, n_items;
    int32_t cells[MOST], seen[MOST], items[ITEMS];
} job;

static void meet(void *context, int32_t item, int32_t place) {
    job *j = context;
    if ((j->round + place) % 97 == 0) usleep(200); /* long enough for the others to fall asleep */
    j->cells[item] += j->round;
    ox_barrier_wait(&j->team->barrier, j->size);
    for (int32_t i = 0; i < j->size; i++) j->seen[place] += j->cells[i] == j->round;
}

static void fill(void *context, int32_t item, int32_t place) {
    job *j = context;
    if ((j->round + item) % 997 == 0) usleep(100 * place);
    j->items[item] += j->round + item;
}

#ifdef WEAK
/* Shared work of which the leader looks at the results before it has ended. */
static void share_weakly(ox_team *team, const job *j, int *wrong) {
    static job mine;
    const unsigned before = ox_gate_turn(&team->finished);
    if (j->size == 1) return;
    mine = *j;
    team->work = fill;
    team->context = &mine;
    team->n_items = ITEMS;
    atomic_store(&team->unfinished, ITEMS);
    const unsigned turn = ox_team_call(team, ITEMS);
    for (int32_t i = 0; i < ITEMS; i++) *wrong += mine.items[i];
    ox_team_take(team, turn, 0);
    ox_gate_wait(&team->finished, before, 0);
}
#endif

static int exercise(int32_t size) {
    ox_team *team;
    int wrong = 0;
    if (ox_team_start(&team, &size) != 0) return 1;
    for (int32_t round = 1; round <= ROUNDS; round++) {
        job j = {.team = team, .size = size, .round = round, .n_items = round * 7 % (ITEMS + 1)};
        if (round % 3 == 0) {
            ox_team_together(team, meet, &j);
            for (int32_t i = 0; i < size; i++) wrong += j.seen[i] != size;
        } else {
#ifdef WEAK
            share_weakly(team, &j, &wrong);
#endif
            ox_team_share(team, j.n_items, fill, &j);
            for (int32_t i = 0; i < ITEMS; i++) wrong += j.items[i] != (i < j.n_items ? round + i : 0);
        }
        if (round % 211 == 0) usleep(3000); /* everybody asleep */
    }
    ox_team_stop(team);
    ox_team_share(team, ITEMS, fill, &(job){.team = team}); /* the leader alone */
    free(team);
    return wrong;
}

int main(void) {
    int wrong = 0;
    for (int32_t size = 1; size <= MOST; size += 2) wrong += exercise(size);
    for (int i = 0; i < TEAMS; i++) { /* begun and ended, with no work or with members that are barely there */
        int32_t size = 1 + i % MOST;
        job j = {.round = 1};
        ox_team *team;
        if (ox_team_start(&team, &size) != 0) return 1;
        if (i % 2) ox_team_share(team, ITEMS, fill, &j);
        ox_team_stop(team);
        free(team);
        for (int32_t k = 0; k < ITEMS; k++) wrong += j.items[k] != (i % 2 ? 1 + k : 0);
    }
    printf("%d wrong\n", wrong);
    return wrong != 0;
}
