#include "bench/gaps.h"

#include "bench/net.h"

#include <err.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    ANSWER_SECONDS_MAX = 10, /* then the client tries another server */
    PAUSE_MS = 10 /* after an answer that is not good, and when no server takes the connection */
};

struct client {
    struct run *run;
    struct workload workload; /* its own: the threads share nothing else that changes */
    unsigned index;
    unsigned server; /* the so many-th is asked */
    int fd;          /* -1: none */
    void *protocol;
    struct buffer inbox;
    pthread_t thread;
};

struct run {
    const struct plan *plan;
    uint64_t from_ns, to_ns;
    pthread_mutex_t mu;
    uint64_t last_ns;   /* guarded by mu: the last good answer */
    struct gaps gaps;   /* guarded by mu, but for its milliseconds */
    uint64_t gap, wait; /* guarded by mu: the longest, in nanoseconds */
    bool silent;        /* guarded by mu: a client has given up */
};

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(ms * MILLISECOND_NS)}, NULL);
}

static void give_up_connection(struct client *client)
{
    if (client->fd >= 0) {
        close(client->fd);
        client->fd = -1;
    }
    client->server++;
}

static bool connected(struct client *client)
{
    const struct timeval patience = {.tv_sec = ANSWER_SECONDS_MAX};
    if (client->fd < 0) {
        client->fd = net_try_connect(workload_port(&client->workload, client->server));
    }
    return client->fd >= 0 &&
           setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0;
}

/* Sends the request once. True when the answer was good. */
static bool try_once(struct client *client, struct request request)
{
    const struct protocol *protocol = client->run->plan->protocol;
    struct answer answer;
    if (!connected(client) ||
        !net_exchange(client->fd, protocol->wire, request, &client->inbox, &answer)) {
        give_up_connection(client);
        return false;
    }
    if (protocol->steps[0].judge(client->protocol, &answer) == VERDICT_GOOD) {
        return true;
    }
    give_up_connection(client);
    return false;
}

static void note_refused(struct run *run)
{
    pthread_mutex_lock(&run->mu);
    run->gaps.refused++;
    pthread_mutex_unlock(&run->mu);
}

static uint64_t longer(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void note_good(struct run *run, uint64_t asked_ns)
{
    pthread_mutex_lock(&run->mu);
    uint64_t now = clock_ns(); /* with mu held: no later answer has been noted */
    if (now >= run->from_ns) {
        run->gap = longer(run->gap, now - longer(run->last_ns, run->from_ns));
        run->wait = longer(run->wait, now - asked_ns);
        run->gaps.acknowledged++;
    }
    run->last_ns = now;
    pthread_mutex_unlock(&run->mu);
}

static void note_silent(struct run *run)
{
    pthread_mutex_lock(&run->mu);
    run->silent = true;
    pthread_mutex_unlock(&run->mu);
}

static void *drive(void *argument)
{
    struct client *client = argument;
    struct run *run = client->run;
    while (clock_ns() < run->to_ns) {
        struct request request = run->plan->protocol->steps[0].prepare(client->protocol);
        uint64_t asked_ns = clock_ns();
        while (!try_once(client, request)) {
            note_refused(run);
            if (clock_ns() - asked_ns > SILENCE_MS_MAX * MILLISECOND_NS) {
                note_silent(run);
                return NULL;
            }
            pause_ms(PAUSE_MS);
        }
        note_good(run, asked_ns);
    }
    return NULL;
}

static void start(struct run *run, struct client *client, unsigned index)
{
    const struct plan *plan = run->plan;
    *client = (struct client){
        .run = run, .workload = *plan->workload, .index = index, .server = index, .fd = -1};
    client->workload.random += index * UINT64_C(0x9E3779B97F4A7C15);
    client->protocol = calloc(1, plan->protocol->client_bytes);
    if (client->protocol == NULL) {
        err(1, "no memory for a client");
    }
    plan->protocol->open(client->protocol, &client->workload, index);
    if (pthread_create(&client->thread, NULL, drive, client) != 0) {
        errx(1, "cannot start a thread");
    }
}

static void finish(struct run *run, struct client *client)
{
    pthread_join(client->thread, NULL);
    if (client->fd >= 0) {
        close(client->fd);
    }
    run->plan->protocol->close(client->protocol);
    free(client->protocol);
    buffer_free(&client->inbox);
}

bool gaps_run(const struct plan *plan, struct gaps *ret)
{
    struct client *clients = calloc(plan->connections, sizeof *clients);
    uint64_t now = clock_ns();
    struct run run = {.plan = plan, .last_ns = now, .mu = PTHREAD_MUTEX_INITIALIZER};
    run.from_ns = now + plan->warmup_ms * MILLISECOND_NS;
    run.to_ns = run.from_ns + plan->measure_ms * MILLISECOND_NS;
    if (clients == NULL) {
        err(1, "no memory for %u clients", plan->connections);
    }
    for (unsigned i = 0; i < plan->connections; i++) {
        start(&run, &clients[i], i);
    }
    for (unsigned i = 0; i < plan->connections; i++) {
        finish(&run, &clients[i]);
    }
    free(clients);
    if (run.silent) {
        warnx("%s: no good answer for %d ms", plan->protocol->name, SILENCE_MS_MAX);
        return false;
    }
    run.gaps.longest_gap_ms = (double)run.gap / MILLISECOND_NS;
    run.gaps.longest_wait_ms = (double)run.wait / MILLISECOND_NS;
    *ret = run.gaps;
    return true;
}
