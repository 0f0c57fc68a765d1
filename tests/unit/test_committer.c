/* The committer: what arrives while a batch is being synced becomes the next one, all of it is answered, and a TICK
   runs when the machine is due. The clock is set, not waited for. */
#include "service/committer.h"
#include "tests/unit/fixture.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

enum { JOBS_MAX = 2500, PATIENCE_S = 30 };

/* ---- the stage ---------------------------------------------------------------------------------------------------- */

struct work {
    struct job job;
    struct command command;
    struct result result;
    struct arena arena;
    char id[32];
    size_t place; /* in which order it was done, from 1 */
    size_t batch; /* in which batch, from 1 */
};

static struct {
    struct fixture machine;
    struct clock clock;
    struct committer *committer;

    pthread_mutex_t mu;
    pthread_cond_t changed;
    size_t done;    /* guarded by mu */
    size_t batches; /* guarded by mu: that have ended */
    size_t events;  /* guarded by mu: of the last batch */
    bool holding;   /* guarded by mu: the next done waits until released */
    bool held;      /* guarded by mu: one does */
} stage = {.mu = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct work works[JOBS_MAX];

static void on_done(struct job *job)
{
    struct work *work = (struct work *)job;
    pthread_mutex_lock(&stage.mu);
    work->place = ++stage.done;
    work->batch = stage.batches + 1;
    while (stage.holding) {
        stage.held = true;
        pthread_cond_broadcast(&stage.changed);
        pthread_cond_wait(&stage.changed, &stage.mu);
    }
    stage.held = false;
    pthread_cond_broadcast(&stage.changed);
    pthread_mutex_unlock(&stage.mu);
}

static void on_batch_done(void *context, const struct events *events)
{
    cr_assert_eq(context, &stage);
    pthread_mutex_lock(&stage.mu);
    stage.batches++;
    stage.events = events->count;
    pthread_cond_broadcast(&stage.changed);
    pthread_mutex_unlock(&stage.mu);
}

static bool nothing_happens(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    return pthread_cond_timedwait(&stage.changed, &stage.mu, &until) != 0;
}

/* Until the condition holds; with the stage's mutex. */
#define AWAIT(condition)                                                                           \
    do {                                                                                           \
        pthread_mutex_lock(&stage.mu);                                                             \
        while (!(condition)) {                                                                     \
            cr_assert_not(nothing_happens(), "waited in vain for " #condition);                    \
        }                                                                                          \
        pthread_mutex_unlock(&stage.mu);                                                           \
    } while (0)

static void start(void)
{
    struct counters counters = machine_counters(stage.machine.machine);
    clock_start(&stage.clock, counters.wall_ms, counters.lease_ms);
    cr_assert_eq(committer_start(stage.machine.machine, &stage.clock,
                                 (struct committer_hooks){on_batch_done, &stage}, &stage.committer),
                 STATUS_OK);
    AWAIT(stage.batches == 1); /* the first TICK, which every opened machine is due for */
}

static void set_up(void)
{
    fixture_open(&stage.machine);
}

static void tear_down(void)
{
    fixture_close(&stage.machine);
    for (size_t i = 0; i < JOBS_MAX; i++) {
        arena_free(&works[i].arena);
    }
}

TestSuite(committer, .init = set_up, .fini = tear_down, .timeout = 120);

static struct command put_command(const char *id)
{
    return (struct command){.kind = COMMAND_SESSION_PUT,
                            .stamp = clock_now(&stage.clock),
                            .session_put = {.id = text_of(id),
                                            .data = TEXT("{}"),
                                            .idle_ttl_ms = HOUR_MS,
                                            .max_ttl_ms = DAY_MS,
                                            .condition = UNCONDITIONAL}};
}

static enum status submit_command(size_t i, struct command command)
{
    struct work *work = &works[i];
    work->arena = ARENA_EMPTY;
    work->command = command;
    work->job = (struct job){&work->command, &work->arena, &work->result, on_done, NULL};
    return committer_submit(stage.committer, &work->job);
}

static enum status submit_put(size_t i)
{
    snprintf(works[i].id, sizeof works[i].id, "s%zu", i);
    return submit_command(i, put_command(works[i].id));
}

static void hold(void)
{
    pthread_mutex_lock(&stage.mu);
    stage.holding = true;
    pthread_mutex_unlock(&stage.mu);
}

static void let_go(void)
{
    pthread_mutex_lock(&stage.mu);
    stage.holding = false;
    pthread_cond_broadcast(&stage.changed);
    pthread_mutex_unlock(&stage.mu);
}

/* Job 0 is submitted, and the committer held in its done: what is submitted now waits for the next batch. */
static void hold_the_committer(void)
{
    hold();
    cr_assert_eq(submit_put(0), STATUS_OK);
    AWAIT(stage.held);
}

static void stop(void)
{
    committer_stop(stage.committer);
}

static void end(void)
{
    committer_free(stage.committer);
}

/* ---- batches ------------------------------------------------------------------------------------------------------ */

Test(committer, a_job_is_carried_out_and_given_back)
{
    start();
    cr_assert_eq(submit_put(0), STATUS_OK);
    AWAIT(stage.batches == 2);
    cr_expect_eq(works[0].result.status, STATUS_CREATED);
    cr_expect_eq(works[0].result.session.version, 1);
    cr_expect_geq(stage.events, 1);
    cr_expect_eq(committer_counters(stage.committer).sessions, 1);
    cr_expect(committer_storage_ok(stage.committer));
    cr_expect_eq(committer_queued(stage.committer), 0);
    stop();
    end();
}

Test(committer, what_was_submitted_during_a_batch_becomes_the_next_one)
{
    enum { COUNT = 100 };
    start();
    hold_the_committer();
    for (size_t i = 1; i <= COUNT; i++) {
        cr_assert_eq(submit_put(i), STATUS_OK);
    }
    cr_expect_eq(committer_queued(stage.committer), COUNT);
    let_go();
    AWAIT(stage.done == COUNT + 1);
    AWAIT(stage.batches == 3);
    for (size_t i = 1; i <= COUNT; i++) {
        cr_expect_eq(works[i].batch, works[0].batch + 1);
        cr_expect_eq(works[i].place, works[0].place + i, "in the order of arrival");
    }
    stop();
    end();
}

Test(committer, a_batch_holds_at_most_so_many_commands)
{
    enum { COUNT = BATCH_COMMANDS_MAX + 10 };
    start();
    hold_the_committer();
    for (size_t i = 1; i <= COUNT; i++) {
        cr_assert_eq(submit_put(i), STATUS_OK);
    }
    let_go();
    AWAIT(stage.done == COUNT + 1);
    cr_expect_eq(works[BATCH_COMMANDS_MAX].batch, works[1].batch);
    cr_expect_eq(works[BATCH_COMMANDS_MAX + 1].batch, works[1].batch + 1);
    stop();
    end();
}

Test(committer, commands_of_one_batch_see_each_other)
{
    start();
    hold_the_committer();
    struct command create = put_command("twice");
    create.session_put.condition.create_only = true;
    cr_assert_eq(submit_command(1, create), STATUS_OK);
    cr_assert_eq(submit_command(2, create), STATUS_OK);
    let_go();
    AWAIT(stage.done == 3);
    cr_expect_eq(works[1].result.status, STATUS_CREATED);
    cr_expect_eq(works[2].result.status, STATUS_VERSION_MISMATCH);
    stop();
    end();
}

Test(committer, what_was_done_is_on_disk)
{
    start();
    for (size_t i = 0; i < 50; i++) {
        cr_assert_eq(submit_put(i), STATUS_OK);
    }
    AWAIT(stage.done == 50);
    stop();
    end();
    fixture_reopen(&stage.machine);
    cr_expect_eq(machine_counters(stage.machine.machine).sessions, 50);
}

/* ---- the queue's bound, and the end ------------------------------------------------------------------------------- */

Test(committer, a_full_queue_refuses_and_does_not_call_back)
{
    /* One job stands in for many: they are never looked at before the queue is full. */
    static struct work filler[COMMITTER_QUEUE_MAX];
    start();
    hold_the_committer();
    for (size_t i = 0; i < COMMITTER_QUEUE_MAX; i++) {
        filler[i].command = (struct command){.kind = COMMAND_TOTALS};
        filler[i].job =
            (struct job){&filler[i].command, &filler[i].arena, &filler[i].result, on_done, NULL};
        cr_assert_eq(committer_submit(stage.committer, &filler[i].job), STATUS_OK);
    }
    cr_expect_eq(submit_put(1), STATUS_OVERLOADED);
    let_go();
    AWAIT(stage.done == COMMITTER_QUEUE_MAX + 1);
    cr_expect_eq(works[1].place, 0);
    cr_expect_eq(submit_put(2), STATUS_OK, "there is room again");
    AWAIT(works[2].place != 0);
    stop();
    end();
}

Test(committer, stopping_carries_out_what_was_submitted_and_refuses_what_comes_later)
{
    start();
    hold_the_committer();
    for (size_t i = 1; i <= 2000; i++) {
        cr_assert_eq(submit_put(i), STATUS_OK);
    }
    let_go();
    stop();
    cr_expect_eq(stage.done, 2001);
    cr_expect_eq(submit_put(2001), STATUS_OVERLOADED);
    end();
}

enum { THREADS = 4, PER_THREAD = 500 };

static void *submit_many(void *argument)
{
    size_t first = (size_t)(uintptr_t)argument;
    for (size_t i = first; i < first + PER_THREAD; i++) {
        cr_assert_eq(submit_put(i), STATUS_OK);
    }
    return NULL;
}

Test(committer, many_threads_may_submit)
{
    pthread_t threads[THREADS];
    start();
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(
            pthread_create(&threads[i], NULL, submit_many, (void *)(uintptr_t)(i * PER_THREAD)), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    AWAIT(stage.done == THREADS * PER_THREAD);
    for (size_t i = 0; i < THREADS * PER_THREAD; i++) {
        cr_expect_eq(works[i].result.status, STATUS_CREATED);
        cr_expect(i % PER_THREAD == 0 || works[i - 1].place < works[i].place);
    }
    stop();
    end();
    cr_expect_eq(machine_counters(stage.machine.machine).sessions, THREADS * PER_THREAD);
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

Test(committer, a_tick_runs_by_itself_when_something_is_due)
{
    /* A session that ends on the wall clock, in the past by the time the committer starts. */
    struct command put = put_command("late");
    put.session_put.idle_ttl_ms = 1000;
    cr_assert_eq(fixture_do(&stage.machine, put).status, STATUS_CREATED);
    cr_assert_eq(machine_counters(stage.machine.machine).sessions, 1);
    start(); /* the system's clock is decades past the fixture's */
    cr_expect_eq(committer_counters(stage.committer).sessions, 0);
    cr_expect_eq(committer_counters(stage.committer).expired, 1);
    stop();
    end();
}

Test(committer, an_idle_committer_wakes_for_what_a_command_made_due)
{
    start();
    struct command put = put_command("short");
    put.session_put.idle_ttl_ms = 1; /* nobody asks again: only the TICK can end it */
    cr_assert_eq(submit_command(0, put), STATUS_OK);
    /* The TICK may run in the batch of the PUT itself, if the millisecond is over by then, or in one of its own. */
    AWAIT(stage.done == 1 && committer_counters(stage.committer).expired == 1);
    cr_expect_eq(committer_counters(stage.committer).sessions, 0);
    stop();
    end();
}

Test(committer, an_idle_committer_commits_nothing)
{
    start();
    for (size_t i = 0; i < 20; i++) {
        cr_assert_eq(submit_put(i), STATUS_OK);
        AWAIT(stage.batches >= i + 2);
    }
    stop();
    end();
    cr_expect_eq(stage.batches, 21, "a batch for the first TICK and for each job, and no other");
}
