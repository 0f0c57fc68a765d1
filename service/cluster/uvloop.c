#include "service/cluster/uvloop.h"

#include "service/clock.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

struct uvloop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t before; /* it looks at what has come */
    uv_check_t after;
    int64_t looks_us; /* since when it looks */
    _Atomic int64_t handled_us;
    pthread_t thread;

    pthread_mutex_t mu;
    struct uvloop_task *first;     /* guarded by mu: in order of arrival */
    struct uvloop_task **last;     /* guarded by mu */
    struct uvloop_closer *closers; /* guarded by mu: the last registered first */
    bool stopping;                 /* guarded by mu */
    bool ended;                    /* guarded by mu: what is posted will not run */
};

bool uvloop_post(struct uvloop *loop, struct uvloop_task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&loop->mu);
    bool taken = !loop->ended;
    if (taken) {
        bool first = loop->first == NULL;
        *loop->last = task;
        loop->last = &task->next;
        if (first) {
            /* With mu held: the handle must not be closed in between. It writes to an eventfd, which does not block. */
            uv_async_send(&loop->wake);
        }
    }
    pthread_mutex_unlock(&loop->mu);
    return taken;
}

void uvloop_on_stop(struct uvloop *loop, struct uvloop_closer *closer)
{
    pthread_mutex_lock(&loop->mu);
    assert(!loop->ended);
    closer->next = loop->closers;
    loop->closers = closer;
    pthread_mutex_unlock(&loop->mu);
}

uv_loop_t *uvloop_uv(struct uvloop *loop)
{
    return &loop->uv;
}

bool uvloop_is_here(const struct uvloop *loop)
{
    return pthread_equal(pthread_self(), loop->thread) != 0;
}

/* ---- how far it is ------------------------------------------------------------------------------------------------ */

static void on_before(uv_prepare_t *before)
{
    struct uvloop *loop = before->data;
    loop->looks_us = clock_monotonic_us();
}

/* The first check that is started is the last that runs: what others make of what has come is done. */
static void on_after(uv_check_t *after)
{
    struct uvloop *loop = after->data;
    atomic_store_explicit(&loop->handled_us, loop->looks_us, memory_order_release);
}

int64_t uvloop_handled_us(const struct uvloop *loop)
{
    return atomic_load_explicit(&loop->handled_us, memory_order_acquire);
}

static void watch_turns(struct uvloop *loop)
{
    loop->before.data = loop->after.data = loop;
    loop->looks_us = clock_monotonic_us();
    atomic_init(&loop->handled_us, loop->looks_us);
    uv_prepare_init(&loop->uv, &loop->before);
    uv_check_init(&loop->uv, &loop->after);
    uv_prepare_start(&loop->before, on_before);
    uv_check_start(&loop->after, on_after);
}

static void close_handles(struct uvloop *loop)
{
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->before, NULL);
    uv_close((uv_handle_t *)&loop->after, NULL);
}

/* ---- the thread --------------------------------------------------------------------------------------------------- */

/* Runs what has been posted until now. */
static void run_tasks(struct uvloop *loop)
{
    pthread_mutex_lock(&loop->mu);
    struct uvloop_task *task = loop->first;
    loop->first = NULL;
    loop->last = &loop->first;
    pthread_mutex_unlock(&loop->mu);
    while (task != NULL) {
        struct uvloop_task *next =
            task->next; /* the task is its maker's again as soon as it runs */
        task->run(task);
        task = next;
    }
}

static struct uvloop_closer *take_closer(struct uvloop *loop)
{
    pthread_mutex_lock(&loop->mu);
    struct uvloop_closer *closer = loop->closers;
    loop->closers = closer == NULL ? NULL : closer->next;
    pthread_mutex_unlock(&loop->mu);
    return closer;
}

/* Ends the queue if it is empty; nothing can be posted afterwards. */
static bool end_queue(struct uvloop *loop)
{
    pthread_mutex_lock(&loop->mu);
    loop->ended = loop->first == NULL && loop->closers == NULL;
    bool ended = loop->ended;
    pthread_mutex_unlock(&loop->mu);
    return ended;
}

static void shut_down(struct uvloop *loop)
{
    do {
        run_tasks(loop);
        struct uvloop_closer *closer = take_closer(loop);
        if (closer != NULL) {
            closer->close(closer);
        }
    } while (!end_queue(loop));
    close_handles(loop); /* the loop then runs until the last one is closed */
}

static void on_wake(uv_async_t *wake)
{
    struct uvloop *loop = wake->data;
    run_tasks(loop);
    pthread_mutex_lock(&loop->mu);
    bool stopping = loop->stopping;
    pthread_mutex_unlock(&loop->mu);
    if (stopping && !uv_is_closing((uv_handle_t *)wake)) {
        shut_down(loop);
    }
}

static void *run(void *argument)
{
    struct uvloop *loop = argument;
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    return NULL;
}

/* ---- start and stop ----------------------------------------------------------------------------------------------- */

/* Signals are for the thread that waits for them. */
static bool start_thread(struct uvloop *loop)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&loop->thread, NULL, run, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0;
}

enum status uvloop_start(struct uvloop **ret)
{
    struct uvloop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        return STATUS_OUT_OF_MEMORY;
    }
    if (uv_loop_init(&loop->uv) != 0) {
        free(loop);
        return STATUS_OUT_OF_MEMORY;
    }
    pthread_mutex_init(&loop->mu, NULL);
    loop->last = &loop->first;
    loop->wake.data = loop;
    bool woken = uv_async_init(&loop->uv, &loop->wake, on_wake) == 0;
    if (woken) {
        watch_turns(loop);
    }
    if (!woken || !start_thread(loop)) {
        if (woken) {
            close_handles(loop);
            uv_run(&loop->uv, UV_RUN_DEFAULT);
        }
        uvloop_free(loop);
        return STATUS_OUT_OF_MEMORY;
    }
    *ret = loop;
    return STATUS_OK;
}

void uvloop_stop(struct uvloop *loop)
{
    if (loop == NULL) {
        return;
    }
    assert(!uvloop_is_here(loop));
    pthread_mutex_lock(&loop->mu);
    loop->stopping = true;
    uv_async_send(&loop->wake);
    pthread_mutex_unlock(&loop->mu);
    pthread_join(loop->thread, NULL);
}

void uvloop_free(struct uvloop *loop)
{
    if (loop == NULL) {
        return;
    }
    int rc = uv_loop_close(&loop->uv);
    assert(rc == 0); /* a handle that is still open is a leak */
    (void)rc;
    pthread_mutex_destroy(&loop->mu);
    free(loop);
}
