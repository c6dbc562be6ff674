/* Starts and joins the core's threads. Signals are blocked in them, so that Ctrl-C always reaches the main thread. */
#ifndef OX_WORKER_THREAD_H
#define OX_WORKER_THREAD_H

#include <pthread.h>
#include <signal.h>

/* 0, or an errno value. name: at most 15 characters. */
static inline int ox_thread_start(unsigned long *thread, void *(*main)(void *), void *argument, const char *name) {
    sigset_t all, before;
    pthread_t handle;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int status = pthread_create(&handle, NULL, main, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (status != 0) return status;
    *thread = (unsigned long)handle;
#if defined(__linux__)
    pthread_setname_np(handle, name);
#else
    (void)name;
#endif
    return 0;
}

static inline int ox_thread_join(unsigned long thread) { return pthread_join((pthread_t)thread, NULL); }

#endif
