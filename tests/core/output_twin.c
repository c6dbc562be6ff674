/* The protocols of _core/output/output.pyx and _core/scheduling/mailbox.pyx in C, over the same atomics and parking headers, for
 * ThreadSanitizer. Keep the memory orders alike. One writer fills values and a text that moves as it grows; one reader sleeps
 * on the parking place, one waits for a descriptor as an event loop does. Both must see everything, whole, and the end.
 * Exit status 0: nothing was lost. -DWEAK shows that the sanitizer would notice. */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "atomics.h"
#include "parking.h"

enum { TOKENS = 3000, FIRST = 16, MAX_BUFFERS = 20, LATE_NS = 2000000000 };

typedef struct mailbox {
    ox_atomic_i32 armed;
    int fd;
} mailbox;

static struct output {
    int64_t values[TOKENS];
    ox_atomic_i32 num_published, finish_reason, num_sleeping;
    ox_atomic_ptr text, mailbox;
    char *buffers[MAX_BUFFERS];
    int n_buffers;
    int64_t capacity;
    ox_parking parking;
} out;

static void publish(int32_t n)
{
#ifdef WEAK
    ox_store_relaxed_i32(&out.num_published, n);
#else
    ox_store_release_i32(&out.num_published, n);
#endif
}

static void wake(void)
{
    if (ox_fetch_add_seq_cst_i32(&out.num_sleeping, 0) > 0) {
        ox_parking_lock(&out.parking);
        ox_parking_wake_all(&out.parking);
        ox_parking_unlock(&out.parking);
    }
    mailbox *reader = ox_load_seq_cst_ptr(&out.mailbox);
    uint64_t one = 1;
    if (reader != NULL && ox_exchange_seq_cst_i32(&reader->armed, 0) && write(reader->fd, &one, sizeof one) < 0) abort();
}

static void append(int32_t i)
{
    char *text = ox_load_relaxed_ptr(&out.text);
    if (i == out.capacity) {
        char *larger = malloc((size_t)out.capacity * 2);
        memcpy(larger, text, (size_t)out.capacity);
        out.capacity *= 2;
        out.buffers[out.n_buffers++] = larger;
        ox_store_release_ptr(&out.text, larger);
        text = larger;
    }
    text[i] = (char)('a' + i % 26);
}

static void *produce(void *nothing)
{
    for (int32_t i = 0; i < TOKENS; i++) {
        out.values[i] = 7 * (int64_t)i;
        append(i);
        publish(i + 1);
        wake();
    }
    ox_store_release_i32(&out.finish_reason, 1);
    wake();
    return nothing;
}

/* Looks at what is new; returns how many were wrong. */
static int look(int32_t *taken, int *finished)
{
    int wrong = 0;
    *finished = ox_load_acquire_i32(&out.finish_reason) != 0;
    int32_t n = ox_load_acquire_i32(&out.num_published);
    const char *text = ox_load_acquire_ptr(&out.text);
    for (; *taken < n; ++*taken) wrong += out.values[*taken] != 7 * (int64_t)*taken || text[*taken] != 'a' + *taken % 26;
    return wrong + (*finished && n != TOKENS);
}

static void *read_asleep(void *result)
{
    int32_t taken = 0;
    int finished = 0, *wrong = result;
    while (*wrong += look(&taken, &finished), !finished) {
        int64_t begin = ox_monotonic_ns();
        ox_parking_lock(&out.parking);
        ox_fetch_add_seq_cst_i32(&out.num_sleeping, 1);
        if (ox_load_seq_cst_i32(&out.num_published) <= taken && ox_load_acquire_i32(&out.finish_reason) == 0)
            ox_parking_wait(&out.parking, LATE_NS);
        ox_fetch_add_seq_cst_i32(&out.num_sleeping, -1);
        ox_parking_unlock(&out.parking);
        *wrong += ox_monotonic_ns() - begin >= LATE_NS;
    }
    return NULL;
}

/* Outlives the writer, as the references to the real one see to. */
static mailbox box;

static void *read_in_a_loop(void *result)
{
    box.fd = eventfd(0, EFD_NONBLOCK);
    struct pollfd wait = {.fd = box.fd, .events = POLLIN};
    int32_t taken = 0;
    int finished = 0, *wrong = result;
    uint64_t count;
    void *expected = NULL;
    ox_store_seq_cst_i32(&box.armed, 1);
    if (!ox_compare_exchange_seq_cst_ptr(&out.mailbox, &expected, &box)) abort();
    ox_fetch_add_seq_cst_i32(&out.num_sleeping, 0);
    while (*wrong += look(&taken, &finished), !finished) {
        *wrong += poll(&wait, 1, LATE_NS / 1000000) == 0;
        if (read(box.fd, &count, sizeof count) < 0) continue;
        ox_exchange_seq_cst_i32(&box.armed, 1);
    }
    return NULL;
}

static int run(void)
{
    pthread_t writer, asleep, loop;
    int wrong[2] = {0, 0};
    memset(&out, 0, sizeof out);
    if (ox_parking_init(&out.parking) != 0) return 1;
    out.capacity = FIRST;
    out.buffers[out.n_buffers++] = malloc(FIRST);
    ox_store_release_ptr(&out.text, out.buffers[0]);
    pthread_create(&asleep, NULL, read_asleep, &wrong[0]);
    pthread_create(&loop, NULL, read_in_a_loop, &wrong[1]);
    while (ox_load_seq_cst_ptr(&out.mailbox) == NULL) usleep(10);
    pthread_create(&writer, NULL, produce, NULL);
    pthread_join(asleep, NULL);
    pthread_join(writer, NULL);
    pthread_join(loop, NULL);
    close(box.fd);
    for (int i = 0; i < out.n_buffers; i++) free(out.buffers[i]);
    ox_parking_destroy(&out.parking);
    return wrong[0] + wrong[1];
}

int main(void)
{
    int wrong = 0;
    for (int i = 0; i < 20; i++) wrong += run();
    printf("%d wrong\n", wrong);
    return wrong != 0;
}
