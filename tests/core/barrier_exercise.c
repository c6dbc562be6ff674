/* The barrier of csrc/threads.h under the sanitizers, with more members than processors, members that are late, and
 * a count of rounds that wraps. In each round every member writes its own cell, plain memory, and after the barrier
 * reads all of them. Exit status 0: everybody saw everything. -DWEAK, which reads before the barrier, shows that the
 * sanitizer would notice. */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>

#include "threads.h"

enum { MOST = 7, ROUNDS = 1500 };

static ox_barrier barrier;
static int n_members;
static int cells[2][MOST]; /* by turns, so that one barrier per round is enough */
static int wrong[MOST];

static void read_all(int me, int round) {
    for (int i = 0; i < n_members; i++) wrong[me] += cells[round % 2][i] != round;
}

static void *member(void *index) {
    const int me = (int)(intptr_t)index;
    for (int round = 1; round <= ROUNDS; round++) {
        if ((round + me) % 97 == 0) usleep(200); /* long enough for the others to fall asleep */
        cells[round % 2][me] = round;
#ifdef WEAK
        read_all(me, round);
#endif
        ox_barrier_wait(&barrier, n_members);
#ifndef WEAK
        read_all(me, round);
#endif
    }
    return NULL;
}

int main(void) {
    int sum = 0;
    for (n_members = 1; n_members <= MOST; n_members += 2) {
        pthread_t threads[MOST];
        ox_barrier_init(&barrier);
        atomic_store(&barrier.gate.turn, UINT_MAX - ROUNDS / 2);
        for (intptr_t i = 0; i < n_members; i++) pthread_create(&threads[i], NULL, member, (void *)i);
        for (int i = 0; i < n_members; i++) pthread_join(threads[i], NULL);
        for (int i = 0; i < n_members; i++) sum += wrong[i];
        if (atomic_load(&barrier.arrived) != 0 || atomic_load(&barrier.gate.sleepers) != 0) sum++;
    }
    printf("%d wrong\n", sum);
    return sum != 0;
}
