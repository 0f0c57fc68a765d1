/*
 * Drives a running server through the proxy, from many threads at once: writes and reads that are answered, long polls
 * that are cancelled, and cancelling that meets the answer. A plain program, so that ThreadSanitizer can watch it.
 *     drive-proxy http://127.0.0.1:PORT
 */
#include "service/clock.h"
#include "service/cluster/proxy.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    THREADS = 4,
    POLLS_EACH = 250,
    WRITES_EACH = 250,
    RACES_EACH = 250,
    PATIENCE_MS = 60000,
};

static struct uvloop *loop;
static struct proxy *proxy;
static const char *base;

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static size_t done_count, outcomes[4]; /* guarded by mu */

struct call {
    struct forward forward;
    struct arena arena;
    char target[96];
    bool done; /* guarded by mu */
};

static const struct proxy_header CONDITION[] = {{TEXT("If-None-Match"), TEXT("\"0\"")}};
static const struct proxy_header JSON[] = {{TEXT("Content-Type"), TEXT("application/json")}};

static void fail(const char *what)
{
    fprintf(stderr, "drive-proxy: %s\n", what);
    exit(1);
}

static void on_done(struct forward *forward)
{
    struct call *call = (struct call *)forward;
    pthread_mutex_lock(&mu);
    if (call->done) {
        fail("a request was done twice");
    }
    call->done = true;
    done_count++;
    outcomes[forward->outcome]++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mu);
}

static struct call *make_call(const char *method)
{
    struct call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        fail("out of memory");
    }
    call->forward = (struct forward){
        .base = base,
        .method = method,
        .deadline_us = clock_monotonic_us() + INT64_C(1000) * PATIENCE_MS,
        .arena = &call->arena,
        .done = on_done,
    };
    return call;
}

static void submit(struct call *call)
{
    call->forward.target = text_of(call->target);
    proxy_submit(proxy, &call->forward);
}

static void await(struct call *call)
{
    pthread_mutex_lock(&mu);
    while (!call->done) {
        pthread_cond_wait(&changed, &mu);
    }
    pthread_mutex_unlock(&mu);
}

static void drop(struct call *call)
{
    arena_free(&call->arena);
    free(call);
}

static void expect(struct call *call, enum forward_outcome outcome, int status)
{
    await(call);
    const struct forward *forward = &call->forward;
    if (forward->outcome != outcome ||
        (outcome == FORWARD_ANSWERED && forward->answer.status != status)) {
        fprintf(stderr, "drive-proxy: %s %s: outcome %d, status %d, %s\n", forward->method,
                call->target, forward->outcome, forward->answer.status,
                forward->failure == NULL ? "" : forward->failure);
        exit(1);
    }
}

/* ---- what the server says ----------------------------------------------------------------------------------------- */

static long read_parked(void)
{
    static const char MEMBER[] = "\"parked_requests\":";
    struct call *call = make_call("GET");
    snprintf(call->target, sizeof call->target, "/v1/status");
    submit(call);
    expect(call, FORWARD_ANSWERED, 200);
    const char *found = strstr(call->forward.answer.body.at, MEMBER);
    long parked = found == NULL ? -1 : atol(found + sizeof MEMBER - 1);
    drop(call);
    return parked;
}

static void await_parked(long wanted)
{
    int64_t until_us = clock_monotonic_us() + INT64_C(1000) * PATIENCE_MS;
    long parked;
    while ((parked = read_parked()) != wanted) {
        if (clock_monotonic_us() > until_us) {
            fprintf(stderr, "drive-proxy: %ld requests are parked, not %ld\n", parked, wanted);
            exit(1);
        }
        usleep(20000);
    }
}

/* ---- what the threads do ------------------------------------------------------------------------------------------ */

struct worker {
    pthread_t thread;
    size_t number;
    struct call *polls[POLLS_EACH];
};

static struct call *submit_poll(size_t worker, size_t i)
{
    struct call *call = make_call("GET");
    snprintf(call->target, sizeof call->target, "/v1/locks/quiet%zu-%zu?wait_ms=60000", worker, i);
    call->forward.headers = CONDITION;
    call->forward.header_count = 1;
    submit(call);
    return call;
}

static struct call *submit_write(size_t worker, size_t i)
{
    struct call *call = make_call("PUT");
    snprintf(call->target, sizeof call->target, "/v1/locks/l%zu-%zu/leases/a", worker, i);
    call->forward.headers = JSON;
    call->forward.header_count = 1;
    call->forward.body = TEXT("{\"owner\":\"a\",\"ttl_ms\":60000}");
    submit(call);
    return call;
}

static void *poll_and_write(void *argument)
{
    struct worker *worker = argument;
    static struct call *writes[THREADS][WRITES_EACH];
    for (size_t i = 0; i < POLLS_EACH; i++) {
        worker->polls[i] = submit_poll(worker->number, i);
        writes[worker->number][i] = submit_write(worker->number, i);
    }
    for (size_t i = 0; i < WRITES_EACH; i++) {
        expect(writes[worker->number][i], FORWARD_ANSWERED, 201);
        drop(writes[worker->number][i]);
    }
    return NULL;
}

static void *cancel_polls(void *argument)
{
    struct worker *worker = argument;
    for (size_t i = 0; i < POLLS_EACH; i++) {
        proxy_cancel(proxy, &worker->polls[i]->forward);
    }
    for (size_t i = 0; i < POLLS_EACH; i++) {
        expect(worker->polls[i], FORWARD_CANCELLED, 0);
        drop(worker->polls[i]);
    }
    return NULL;
}

/* Cancels reads and long polls at every stage of their way. */
static void *race(void *argument)
{
    struct worker *worker = argument;
    for (size_t i = 0; i < RACES_EACH; i++) {
        struct call *poll = submit_poll(worker->number, i), *read = make_call("GET");
        snprintf(read->target, sizeof read->target, "/v1/locks/l%zu-%zu", worker->number, i);
        submit(read);
        usleep((useconds_t)(i * 37 % 5000));
        proxy_cancel(proxy, &read->forward);
        proxy_cancel(proxy, &poll->forward);
        await(read);
        expect(poll, FORWARD_CANCELLED, 0);
        drop(read);
        drop(poll);
    }
    return NULL;
}

static void run_all(struct worker workers[THREADS], void *(*work)(void *))
{
    for (size_t i = 0; i < THREADS; i++) {
        workers[i].number = i;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0) {
            fail("no thread");
        }
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
    }
}

static void allow_many_sockets(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

int main(int argc, char **argv)
{
    static struct worker workers[THREADS];
    if (argc != 2) {
        fail("give the base of a running server");
    }
    base = argv[1];
    allow_many_sockets();
    if (uvloop_start(&loop) != STATUS_OK ||
        proxy_start(loop, PROXY_LIMITS_DEFAULT, &proxy) != STATUS_OK) {
        fail("no proxy");
    }
    run_all(workers, poll_and_write);
    await_parked(THREADS * POLLS_EACH);
    run_all(workers, cancel_polls);
    await_parked(0);
    run_all(workers, race);
    await_parked(0);
    struct call *left = submit_poll(0, 0);
    await_parked(1);
    uvloop_stop(loop);
    expect(left, FORWARD_CANCELLED, 0);
    drop(left);
    if (proxy_in_flight(proxy) != 0) {
        fail("requests are left");
    }
    proxy_free(proxy);
    uvloop_free(loop);
    printf("drive-proxy: %zu done: %zu answered, %zu cancelled\n", done_count,
           outcomes[FORWARD_ANSWERED], outcomes[FORWARD_CANCELLED]);
    return 0;
}
