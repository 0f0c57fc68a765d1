#include "service/committer.h"

#include "service/log.h"
#include "service/metrics.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    STORAGE_RETRY_MS = 250, /* how soon a TICK is tried again after the storage refused a batch */
};

struct committer {
    struct machine *machine;
    struct clock *clock;
    struct committer_hooks hooks;
    pthread_t thread;

    pthread_mutex_t mu;
    pthread_cond_t work;      /* something was submitted, or it is time to stop */
    struct jobs queue;        /* guarded by mu: in order of arrival */
    bool asleep;              /* guarded by mu: the thread waits on `work` */
    bool stopping;            /* guarded by mu */
    struct counters counters; /* guarded by mu: a copy for others to read */

    atomic_bool storage_ok;
    struct arena batch; /* the thread's own: events, the TICK's result */
    bool failed_before; /* the thread's own: the last batch was not stored */
};

enum status committer_submit(struct committer *committer, struct job *job)
{
    pthread_mutex_lock(&committer->mu);
    bool taken = committer->queue.count < COMMITTER_QUEUE_MAX && !committer->stopping;
    if (taken) {
        jobs_add(&committer->queue, job);
    }
    bool wake = taken && committer->asleep;
    committer->asleep = committer->asleep && !wake;
    pthread_mutex_unlock(&committer->mu);
    if (wake) {
        pthread_cond_signal(&committer->work);
    }
    return taken ? STATUS_OK : STATUS_OVERLOADED;
}

/* ---- one batch ---------------------------------------------------------------------------------------------------- */

static void apply_all(struct committer *committer, struct job *jobs)
{
    for (struct job *job = jobs; job != NULL; job = job->next) {
        machine_apply(committer->machine, job->command, job->arena, job->result);
    }
}

static void apply_tick(struct committer *committer, struct stamp now)
{
    struct command tick = {.kind = COMMAND_TICK, .stamp = now, .tick = {TICK_STEPS_MAX}};
    struct result result;
    machine_apply(committer->machine, &tick, &committer->batch, &result);
}

static void note_storage(struct committer *committer, bool ok)
{
    if (ok == committer->failed_before) { /* it changed */
        if (ok) {
            LOG(LOG_INFO, "storage-recovered");
        } else {
            LOG(LOG_ERROR, "storage-unavailable",
                LOG_STRING("error", machine_failure(committer->machine)));
        }
    }
    committer->failed_before = !ok;
    atomic_store(&committer->storage_ok, ok);
}

static bool tick_is_due(const struct committer *committer, struct stamp now)
{
    return due_in_ms(machine_due(committer->machine), now) <= 0;
}

static void run_batch(struct committer *committer, struct job *jobs, size_t count)
{
    struct events events = {NULL, 0, 0};
    struct stamp now = clock_now(committer->clock);
    int64_t begun_us = clock_monotonic_us();
    machine_begin(committer->machine, &committer->batch);
    apply_all(committer, jobs);
    if (tick_is_due(committer, now)) {
        apply_tick(committer, now);
    }
    int64_t applied_us = clock_monotonic_us();
    enum status status = machine_commit(committer->machine, &events);
    int64_t committed_us = clock_monotonic_us();
    metrics_batch(count, applied_us - begun_us, committed_us - applied_us, status != STATUS_OK);
    note_storage(committer, status == STATUS_OK);
    pthread_mutex_lock(&committer->mu);
    committer->counters = machine_counters(committer->machine);
    pthread_mutex_unlock(&committer->mu);
    if (status == STATUS_OK) {
        jobs_finish(jobs);
    } else {
        jobs_refuse(jobs, STATUS_STORAGE_UNAVAILABLE);
    }
    committer->hooks.batch_done(committer->hooks.context, &events);
    arena_clear(&committer->batch);
}

/* ---- the thread --------------------------------------------------------------------------------------------------- */

/* How long until the next TICK is due; negative: there is none. */
static int64_t until_tick_ms(const struct committer *committer, struct stamp now)
{
    int64_t soonest = due_in_ms(machine_due(committer->machine), now);
    if (soonest == INT64_MAX) {
        return -1;
    }
    if (committer->failed_before && soonest < STORAGE_RETRY_MS) {
        return STORAGE_RETRY_MS;
    }
    /* The wall clock may be set forward meanwhile: look again once a minute. */
    return soonest < 0 ? 0 : soonest < MINUTE_MS ? soonest : MINUTE_MS;
}

/* Waits until there is work or a TICK is due. */
static void wait_locked(struct committer *committer)
{
    int64_t wait_ms = until_tick_ms(committer, clock_now(committer->clock));
    struct timespec until = clock_monotonic_in(wait_ms);
    int rc = 0;
    while (committer->queue.first == NULL && !committer->stopping && rc != ETIMEDOUT &&
           wait_ms != 0) {
        committer->asleep = true;
        rc = wait_ms < 0 ? pthread_cond_wait(&committer->work, &committer->mu)
                         : pthread_cond_timedwait(&committer->work, &committer->mu, &until);
    }
    committer->asleep = false;
}

static void *run(void *argument)
{
    struct committer *committer = argument;
    bool stopping = false;
    while (!stopping) {
        size_t count;
        pthread_mutex_lock(&committer->mu);
        wait_locked(committer);
        struct job *jobs = jobs_take(&committer->queue, BATCH_COMMANDS_MAX, &count);
        stopping = committer->stopping && committer->queue.first == NULL;
        pthread_mutex_unlock(&committer->mu);
        if (count > 0 || tick_is_due(committer, clock_now(committer->clock))) {
            run_batch(committer, jobs, count);
        }
        machine_tidy(committer->machine);
    }
    return NULL;
}

static void free_committer(struct committer *committer)
{
    pthread_cond_destroy(&committer->work);
    pthread_mutex_destroy(&committer->mu);
    arena_free(&committer->batch);
    free(committer);
}

enum status committer_start(struct machine *machine, struct clock *clock,
                            struct committer_hooks hooks, struct committer **ret)
{
    struct committer *committer = calloc(1, sizeof *committer);
    if (committer == NULL) {
        return STATUS_OUT_OF_MEMORY;
    }
    committer->machine = machine;
    committer->clock = clock;
    committer->hooks = hooks;
    jobs_make(&committer->queue);
    committer->counters = machine_counters(machine);
    atomic_init(&committer->storage_ok, true);
    pthread_mutex_init(&committer->mu, NULL);
    clock_cond_init(&committer->work);
    if (pthread_create(&committer->thread, NULL, run, committer) != 0) {
        free_committer(committer);
        return STATUS_OUT_OF_MEMORY;
    }
    *ret = committer;
    return STATUS_OK;
}

void committer_stop(struct committer *committer)
{
    if (committer == NULL) {
        return;
    }
    pthread_mutex_lock(&committer->mu);
    committer->stopping = true;
    pthread_mutex_unlock(&committer->mu);
    pthread_cond_signal(&committer->work);
    pthread_join(committer->thread, NULL);
}

void committer_free(struct committer *committer)
{
    if (committer != NULL) {
        free_committer(committer);
    }
}

size_t committer_queued(struct committer *committer)
{
    pthread_mutex_lock(&committer->mu);
    size_t queued = committer->queue.count;
    pthread_mutex_unlock(&committer->mu);
    return queued;
}

struct counters committer_counters(struct committer *committer)
{
    pthread_mutex_lock(&committer->mu);
    struct counters counters = committer->counters;
    pthread_mutex_unlock(&committer->mu);
    return counters;
}

bool committer_storage_ok(struct committer *committer)
{
    return atomic_load(&committer->storage_ok);
}
