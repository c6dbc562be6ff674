/* The protocol of _core/ring.pyx in C, over the same atomics and parking headers, so that ThreadSanitizer sees it
 * without Python. Keep the memory orders alike. Producers submit numbers, the consumer checks order, bound and loss; then the
 * same with a close in the middle. Exit status 0: nothing was lost. -DWEAK shows that the sanitizer would notice. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "atomics.h"
#include "parking.h"

enum { PRODUCERS = 3, CELLS = 8, QUEUE_SIZE = 7, OK = 0, FULL = 1, CLOSED = 2 };

typedef struct item {
    int producer;
    int64_t number;
} item;

typedef struct cell {
    ox_atomic_i64 turn;
    item *value;
} cell;

static struct ring {
    cell cells[CELLS];
    ox_atomic_i64 tail;
    int64_t head;
    ox_atomic_i32 num_queued, num_submitting, closed, sleeping, poked;
    ox_parking parking;
} ring;

static int count_in(void)
{
    int32_t n = ox_load_relaxed_i32(&ring.num_queued);
    while (n < QUEUE_SIZE)
        if (ox_compare_exchange_acq_rel_i32(&ring.num_queued, &n, n + 1)) return 1;
    return 0;
}

static void wake_sleeper(void)
{
    if (ox_load_seq_cst_i32(&ring.sleeping) != 0) {
        ox_parking_lock(&ring.parking);
        ox_parking_wake_all(&ring.parking);
        ox_parking_unlock(&ring.parking);
    }
}

static void put(item *value)
{
#ifdef WEAK
    int64_t position = atomic_fetch_add_explicit(&ring.tail, 1, memory_order_relaxed);
    cell *c = &ring.cells[position & (CELLS - 1)];
    c->value = value;
    ox_store_relaxed_i64(&c->turn, position + 1);
#else
    int64_t position = ox_fetch_add_acq_rel_i64(&ring.tail, 1);
    cell *c = &ring.cells[position & (CELLS - 1)];
    c->value = value;
    ox_store_seq_cst_i64(&c->turn, position + 1);
#endif
}

static int submit(item *value)
{
    int status = OK;
    ox_fetch_add_seq_cst_i32(&ring.num_submitting, 1);
    if (ox_load_seq_cst_i32(&ring.closed) != 0) {
        status = CLOSED;
    } else if (!count_in()) {
        status = FULL;
    } else {
        put(value);
        wake_sleeper();
    }
    ox_fetch_add_seq_cst_i32(&ring.num_submitting, -1);
    return status;
}

static item *take(void)
{
    cell *c = &ring.cells[ring.head & (CELLS - 1)];
    if (ox_load_acquire_i64(&c->turn) != ring.head + 1) return NULL;
    item *value = c->value;
    ox_store_release_i64(&c->turn, ring.head + CELLS);
    ring.head += 1;
    return value;
}

static int has_news(void)
{
    cell *c = &ring.cells[ring.head & (CELLS - 1)];
    return ox_load_seq_cst_i64(&c->turn) == ring.head + 1 || ox_exchange_seq_cst_i32(&ring.poked, 0) != 0;
}

static void doze(int64_t timeout_ns)
{
    if (has_news()) return;
    ox_parking_lock(&ring.parking);
    ox_store_seq_cst_i32(&ring.sleeping, 1);
    if (!has_news()) {
        ox_parking_wait(&ring.parking, timeout_ns);
        ox_exchange_seq_cst_i32(&ring.poked, 0);
    }
    ox_store_seq_cst_i32(&ring.sleeping, 0);
    ox_parking_unlock(&ring.parking);
}

typedef struct producer {
    pthread_t thread;
    int number;
    int64_t limit, accepted;
} producer;

static void *produce(void *argument)
{
    producer *p = argument;
    while (p->accepted < p->limit) {
        item *value = malloc(sizeof *value);
        value->producer = p->number;
        value->number = p->accepted;
        int status = submit(value);
        while (status == FULL) {
            sched_yield();
            status = submit(value);
        }
        if (status == CLOSED) {
            free(value);
            break;
        }
        p->accepted += 1;
    }
    return NULL;
}

/* Returns the number of things that went wrong. */
static int run(int64_t each, int64_t close_after)
{
    producer producers[PRODUCERS] = {0};
    int64_t next[PRODUCERS] = {0}, taken = 0, accepted = 0;
    int wrong = 0;
    for (int i = 0; i < CELLS; i++) ox_store_relaxed_i64(&ring.cells[i].turn, i);
    ox_store_relaxed_i64(&ring.tail, 0);
    ring.head = 0;
    ox_store_relaxed_i32(&ring.closed, 0);
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i].number = i;
        producers[i].limit = each;
        pthread_create(&producers[i].thread, NULL, produce, &producers[i]);
    }
    for (;;) {
        if (taken == close_after && ox_load_relaxed_i32(&ring.closed) == 0) {
            ox_store_seq_cst_i32(&ring.closed, 1);
            ox_store_seq_cst_i32(&ring.poked, 1);
            wake_sleeper();
        }
        int quiet = ox_load_seq_cst_i32(&ring.closed) && ox_load_seq_cst_i32(&ring.num_submitting) == 0;
        item *value = take();
        if (value == NULL) {
            if (quiet || (close_after < 0 && taken == PRODUCERS * each)) break;
            int64_t begin = ox_monotonic_ns();
            doze(ox_load_relaxed_i32(&ring.closed) ? 1000000 : INT64_C(5000000000));
            wrong += ox_monotonic_ns() - begin >= INT64_C(5000000000);
            continue;
        }
        wrong += value->number != next[value->producer]++;
        free(value);
        taken += 1;
        ox_fetch_add_acq_rel_i32(&ring.num_queued, -1);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i].thread, NULL);
        accepted += producers[i].accepted;
    }
    wrong += taken != accepted || ox_load_relaxed_i32(&ring.num_queued) != 0;
    printf("taken %lld of %lld, %d wrong\n", (long long)taken, (long long)accepted, wrong);
    return wrong;
}

int main(void)
{
    int wrong = ox_parking_init(&ring.parking);
    wrong += run(20000, -1);
    for (int64_t i = 1; i <= 20; i++) wrong += run(INT64_MAX, 50 * i);
    ox_parking_destroy(&ring.parking);
    return wrong != 0;
}
