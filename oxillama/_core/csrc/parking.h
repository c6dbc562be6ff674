/* One place where one thread sleeps until others wake it or a time passes, and the clock both use.
 * Knows nothing of what is waited for: the owner's condition is checked between lock and wait. */
#ifndef OX_PARKING_H
#define OX_PARKING_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* The clock of every time in the core; on Linux and macOS the one of Python's time.monotonic_ns(). */
static inline int64_t ox_monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

typedef struct ox_parking {
    pthread_mutex_t mutex;
    pthread_cond_t woken;
} ox_parking;

/* Returns 0, or an errno value. */
static inline int ox_parking_init(ox_parking *p)
{
    int error = pthread_mutex_init(&p->mutex, NULL);
    if (error) return error;
#ifdef __APPLE__ /* no condition clock there: the wait is relative */
    error = pthread_cond_init(&p->woken, NULL);
#else
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    error = pthread_cond_init(&p->woken, &attributes);
    pthread_condattr_destroy(&attributes);
#endif
    if (error) pthread_mutex_destroy(&p->mutex);
    return error;
}

/* Nobody may be inside any other function of p. */
static inline void ox_parking_destroy(ox_parking *p)
{
    pthread_cond_destroy(&p->woken);
    pthread_mutex_destroy(&p->mutex);
}

static inline void ox_parking_lock(ox_parking *p) { pthread_mutex_lock(&p->mutex); }
static inline void ox_parking_unlock(ox_parking *p) { pthread_mutex_unlock(&p->mutex); }

/* With the lock held: sleeps until woken, or for timeout_ns (negative: no limit). May return early. */
static inline void ox_parking_wait(ox_parking *p, int64_t timeout_ns)
{
    struct timespec t;
    if (timeout_ns < 0) {
        pthread_cond_wait(&p->woken, &p->mutex);
        return;
    }
#ifdef __APPLE__
    t.tv_sec = (time_t)(timeout_ns / 1000000000);
    t.tv_nsec = (long)(timeout_ns % 1000000000);
    pthread_cond_timedwait_relative_np(&p->woken, &p->mutex, &t);
#else
    int64_t now = ox_monotonic_ns();
    int64_t until = timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
    t.tv_sec = (time_t)(until / 1000000000);
    t.tv_nsec = (long)(until % 1000000000);
    pthread_cond_timedwait(&p->woken, &p->mutex, &t);
#endif
}

/* With the lock held, so that no waiter is between its check and its wait. */
static inline void ox_parking_wake_all(ox_parking *p) { pthread_cond_broadcast(&p->woken); }

#endif
