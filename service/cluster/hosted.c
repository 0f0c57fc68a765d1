#include "service/cluster/hosted_state.h"

#include "db/codec.h"
#include "service/log.h"
#include "service/metrics.h"

#include <stdio.h>
#include <stdlib.h>

enum { IDLE_MS = 60000 /* how often a TICK is looked for when none is due */ };

static const struct events NO_EVENTS = {NULL, 0, 0};

/* ---- jobs --------------------------------------------------------------------------------------------------------- */

/* Answers what was submitted and is in no batch yet. */
static void refuse_queue(struct hosted *hosted, enum status status)
{
    size_t count;
    pthread_mutex_lock(&hosted->mu);
    struct job *jobs = jobs_take(&hosted->queue, SIZE_MAX, &count);
    pthread_mutex_unlock(&hosted->mu);
    jobs_refuse(jobs, status);
    hosted->hooks.batch_done(hosted->hooks.context, &NO_EVENTS);
}

enum status hosted_submit(struct hosted *hosted, struct job *job)
{
    if (!atomic_load(&hosted->leads)) {
        return STATUS_NOT_OWNER;
    }
    pthread_mutex_lock(&hosted->mu);
    bool refusing = hosted->refusing;
    bool room = hosted->queue.count < COMMITTER_QUEUE_MAX;
    bool post = false;
    if (!refusing && room) {
        jobs_add(&hosted->queue, job);
        post = !hosted->posted;
        hosted->posted = true;
    }
    pthread_mutex_unlock(&hosted->mu);
    if (post && !uvloop_post(hosted->loop, &hosted->task)) {
        /* The loop has stopped for good; closing the replica has refused the queue, or is about to. */
        return STATUS_OK;
    }
    return refusing ? STATUS_NOT_OWNER : room ? STATUS_OK : STATUS_OVERLOADED;
}

/* ---- batches ------------------------------------------------------------------------------------------------------ */

/*
 * One is under way at a time, and what arrives meanwhile makes the next. An entry costs the same whatever is in it, on
 * every replica a write to the disk, messages and a transaction; more than one under way made them smaller and no faster.
 */

static bool tick_is_due(const struct hosted *hosted)
{
    return due_in_ms(machine_due(hosted->place.machine), clock_now(hosted->place.clock)) <= 0;
}

static void on_timer(uv_timer_t *timer);

/* The timer is set for when a TICK is due; while a batch is under way, its end looks for one. */
static void set_timer(struct hosted *hosted)
{
    if (hosted->under_way) {
        uv_timer_stop(&hosted->timer);
        return;
    }
    int64_t soonest = due_in_ms(machine_due(hosted->place.machine), clock_now(hosted->place.clock));
    soonest = soonest < 1 ? 1 : soonest < IDLE_MS ? soonest : IDLE_MS;
    if (!hosted->closing) {
        uv_timer_start(&hosted->timer, on_timer, (uint64_t)soonest, 0);
    }
}

static void free_batch(struct batch *batch)
{
    arena_free(&batch->arena);
    free(batch);
}

/* The entry of a batch; absent when memory ran out. */
static struct text encode(struct batch *batch)
{
    const struct command **commands =
        arena_alloc(&batch->arena, (batch->count + 1) * sizeof(struct command *));
    size_t count = 0;
    if (commands == NULL) {
        return TEXT_ABSENT;
    }
    for (struct job *job = batch->jobs; job != NULL; job = job->next) {
        commands[count++] = job->command;
    }
    if (batch->ticks) {
        commands[count++] = &batch->tick;
    }
    return batch_encode(commands, count, &batch->arena);
}

/* Cuts the batch to its first half. Returns the rest. */
static struct job *halve(struct batch *batch, size_t *ret_count)
{
    struct job **cut = &batch->jobs;
    size_t keep = batch->count / 2;
    for (size_t i = 0; i < keep; i++) {
        cut = &(*cut)->next;
    }
    struct job *rest = *cut;
    *cut = NULL;
    *ret_count = batch->count - keep;
    batch->count = keep;
    return rest;
}

static struct text encode_within_bounds(struct batch *batch)
{
    struct text entry = encode(batch);
    while (entry.len > REPLICA_ENTRY_BYTES_MAX && batch->count > 1) {
        size_t count;
        struct job *rest = halve(batch, &count);
        pthread_mutex_lock(&batch->hosted->mu);
        jobs_put_back(&batch->hosted->queue, rest, count);
        pthread_mutex_unlock(&batch->hosted->mu);
        arena_clear(&batch->arena);
        entry = encode(batch);
    }
    return entry;
}

static enum status status_of(enum replica_outcome outcome)
{
    switch (outcome) {
    case REPLICA_NOT_LEADER:
    case REPLICA_STOPPED:
        return STATUS_NOT_OWNER;
    case REPLICA_BUSY:
        return STATUS_OVERLOADED;
    case REPLICA_NO_SPACE:
        return STATUS_STORAGE_UNAVAILABLE;
    case REPLICA_UNKNOWN:
        return STATUS_OUTCOME_UNKNOWN;
    case REPLICA_PENDING:
    case REPLICA_COMMITTED:
        break;
    }
    return STATUS_OK;
}

static void propose_some(struct hosted *hosted);

/* This node certainly led at some moment after that time. */
static void note_lead(struct hosted *hosted, int64_t at_us)
{
    pthread_mutex_lock(&hosted->mu);
    freshness_lead(&hosted->freshness, at_us);
    pthread_mutex_unlock(&hosted->mu);
}

static void on_done(void *context, enum replica_outcome outcome)
{
    struct batch *batch = context;
    struct hosted *hosted = batch->hosted;
    hosted->under_way = false;
    if (outcome == REPLICA_COMMITTED) {
        note_lead(hosted, batch->begun_us);
        jobs_finish(batch->jobs); /* apply has filled the results */
    } else {
        jobs_refuse(batch->jobs, status_of(outcome));
    }
    atomic_store(&hosted->storage_ok, outcome != REPLICA_NO_SPACE);
    hosted->hooks.batch_done(hosted->hooks.context, &batch->events);
    metrics_batch(batch->count, 0, clock_monotonic_us() - batch->begun_us,
                  outcome != REPLICA_COMMITTED);
    free_batch(batch);
    propose_some(hosted);
}

static struct batch *make_batch(struct hosted *hosted, bool ticks)
{
    struct batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL) {
        return NULL;
    }
    *batch = (struct batch){.hosted = hosted,
                            .ticks = ticks,
                            .tick = {.kind = COMMAND_TICK,
                                     .stamp = clock_now(hosted->place.clock),
                                     .tick = {TICK_STEPS_MAX}},
                            .begun_us = clock_monotonic_us()};
    pthread_mutex_lock(&hosted->mu);
    batch->jobs = jobs_take(&hosted->queue, BATCH_COMMANDS_MAX, &batch->count);
    pthread_mutex_unlock(&hosted->mu);
    return batch;
}

/* Proposes what waits as one entry. */
static void propose(struct hosted *hosted, bool ticks)
{
    struct batch *batch = make_batch(hosted, ticks);
    if (batch == NULL) {
        refuse_queue(hosted, STATUS_OUT_OF_MEMORY);
        return;
    }
    struct text entry = encode_within_bounds(batch);
    enum replica_outcome outcome =
        text_given(entry) ? replica_propose(hosted->replica, entry, batch, on_done) : REPLICA_BUSY;
    if (outcome == REPLICA_PENDING) {
        hosted->under_way = true;
        return;
    }
    jobs_refuse(batch->jobs, status_of(outcome));
    hosted->hooks.batch_done(hosted->hooks.context, &NO_EVENTS);
    free_batch(batch);
}

static void propose_some(struct hosted *hosted)
{
    bool more = !hosted->closing && atomic_load(&hosted->leads);
    while (more && !hosted->under_way) {
        bool ticks = tick_is_due(hosted);
        more = hosted_queued(hosted) > 0;
        if (more || ticks) {
            propose(hosted, ticks);
        }
    }
    if (atomic_load(&hosted->leads)) {
        set_timer(hosted);
    }
}

static void on_timer(uv_timer_t *timer)
{
    propose_some(timer->data);
}

static void on_task(struct uvloop_task *task)
{
    struct hosted *hosted = (struct hosted *)((char *)task - offsetof(struct hosted, task));
    pthread_mutex_lock(&hosted->mu);
    hosted->posted = false;
    pthread_mutex_unlock(&hosted->mu);
    propose_some(hosted);
}

/* ---- the replica's news ------------------------------------------------------------------------------------------- */

static void begin_to_lead(struct hosted *hosted)
{
    note_lead(hosted, hosted->confirming_us);
    /* Lease time goes on from where the state stopped, by this node's monotonic clock. */
    struct counters counters = machine_counters(hosted->place.machine);
    clock_start(hosted->place.clock, counters.wall_ms, counters.lease_ms);
    atomic_store(&hosted->leads, true);
}

static void cease_to_lead(struct hosted *hosted)
{
    atomic_store(&hosted->leads, false);
    uv_timer_stop(&hosted->timer);
    refuse_queue(hosted, STATUS_NOT_OWNER);
}

static void on_changed(void *context, const struct replica_status *status)
{
    struct hosted *hosted = context;
    atomic_store(&hosted->votes, status->role == REPLICA_VOTER);
    if (status->leads && !status->ready) {
        hosted->confirming_us = clock_monotonic_us();
    }
    if (atomic_exchange(&hosted->leader, status->leader) != status->leader) {
        /* First: who is refused here is told whom to ask. */
        hosted->hooks.leader(hosted->hooks.context, hosted->place.partition, status->leader);
    }
    if (status->ready == atomic_load(&hosted->leads)) {
        return;
    }
    if (status->ready) {
        begin_to_lead(hosted);
    } else {
        cease_to_lead(hosted);
    }
    hosted->hooks.led(hosted->hooks.context, hosted->place.partition, status->ready);
    propose_some(hosted);
}

static void on_stopped(void *context, const char *why)
{
    struct hosted *hosted = context;
    atomic_store(&hosted->leads, false);
    atomic_store(&hosted->storage_ok, false);
    refuse_queue(hosted, STATUS_NOT_OWNER);
    hosted->hooks.stopped(hosted->hooks.context, hosted->place.partition, why);
}

/* ---- its life ----------------------------------------------------------------------------------------------------- */

static struct hosted *make(struct uvloop *loop, const struct hosted_place *place,
                           struct hosted_hooks hooks)
{
    struct hosted *hosted = calloc(1, sizeof *hosted);
    if (hosted == NULL) {
        return NULL;
    }
    hosted->place = *place;
    hosted->hooks = hooks;
    hosted->loop = loop;
    hosted->task.run = on_task;
    jobs_make(&hosted->queue);
    snprintf(hosted->database, sizeof hosted->database, "%s", place->database);
    pthread_mutex_init(&hosted->mu, NULL);
    hosted_note_state(hosted);
    atomic_init(&hosted->storage_ok, true);
    uv_timer_init(uvloop_uv(loop), &hosted->timer);
    hosted->timer.data = hosted;
    return hosted;
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct hosted *hosted = handle->data;
    void (*closed)(void *context) = hosted->closed;
    void *context = hosted->closed_context;
    hosted_give_up(hosted); /* of a replica that failed */
    arena_free(&hosted->applying);
    pthread_mutex_destroy(&hosted->mu);
    free(hosted);
    if (closed != NULL) {
        closed(context);
    }
}

bool hosted_open(struct uvloop *loop, struct transport *transport, const struct hosted_place *place,
                 struct hosted_hooks hooks, struct hosted **ret, char ret_why[256])
{
    struct hosted *hosted = make(loop, place, hooks);
    if (hosted == NULL) {
        snprintf(ret_why, 256, "out of memory");
        return false;
    }
    struct replica_config config = {.group = (uint64_t)place->partition +
                                             1, /* group 0 keeps the table */
                                    .node = place->node,
                                    .log = place->log,
                                    .machine = hosted_machine(hosted),
                                    .hooks = {on_changed, on_stopped, hosted},
                                    .founders = place->founds ? &place->node : NULL,
                                    .founder_count = place->founds,
                                    .alone = place->alone};
    if (!replica_open(uvloop_uv(loop), transport, &config, &hosted->replica, ret_why)) {
        hosted->closing = true;
        hosted_give_up(hosted); /* the machine may be gone when the timer is */
        uv_close((uv_handle_t *)&hosted->timer, on_timer_closed);
        return false;
    }
    *ret = hosted;
    return true;
}

static void on_replica_closed(void *context)
{
    struct hosted *hosted = context;
    uv_close((uv_handle_t *)&hosted->timer, on_timer_closed);
}

void hosted_close(struct hosted *hosted, void (*closed)(void *context), void *context)
{
    hosted->closing = true;
    hosted->closed = closed;
    hosted->closed_context = context;
    atomic_store(&hosted->leads, false);
    pthread_mutex_lock(&hosted->mu);
    hosted->refusing = true;
    pthread_mutex_unlock(&hosted->mu);
    uv_timer_stop(&hosted->timer);
    refuse_queue(hosted, STATUS_NOT_OWNER);
    replica_close(hosted->replica, on_replica_closed, hosted);
}

/* ---- asking ------------------------------------------------------------------------------------------------------- */

bool hosted_leads(struct hosted *hosted)
{
    return atomic_load(&hosted->leads);
}

bool hosted_serves(struct hosted *hosted)
{
    int64_t silent_us = clock_monotonic_us() - uvloop_handled_us(hosted->loop);
    return hosted_leads(hosted) && silent_us < (int64_t)REPLICA_ELECTION_MS * 1000;
}

uint64_t hosted_leader(struct hosted *hosted)
{
    return atomic_load(&hosted->leader);
}

void hosted_note_state(struct hosted *hosted)
{
    pthread_mutex_lock(&hosted->mu);
    hosted->counters = machine_counters(hosted->place.machine);
    hosted->due = machine_due(hosted->place.machine);
    freshness_apply(&hosted->freshness, hosted->counters.applied_index);
    pthread_mutex_unlock(&hosted->mu);
}

struct hosted_copy hosted_copy(struct hosted *hosted)
{
    struct hosted_copy copy = {.serves = hosted_serves(hosted),
                               .votes = atomic_load(&hosted->votes)};
    pthread_mutex_lock(&hosted->mu);
    struct stamp seen = {hosted->counters.wall_ms, hosted->counters.lease_ms};
    copy.known = hosted->freshness.known;
    copy.as_of_us = hosted->freshness.as_of_us;
    copy.now = freshness_clock(&hosted->freshness, seen, hosted->due);
    pthread_mutex_unlock(&hosted->mu);
    if (copy.serves) {
        copy.now = clock_now(hosted->place.clock);
    }
    return copy;
}

bool hosted_pulse(struct hosted *hosted, struct pulse *ret)
{
    bool leads = hosted_leads(hosted);
    *ret = (struct pulse){.partition = (unsigned)hosted->place.partition,
                          .applied = hosted_counters(hosted).applied_index,
                          .now = clock_now(hosted->place.clock)};
    return leads;
}

void hosted_hear(struct hosted *hosted, uint64_t from, const struct pulse *pulse, int64_t asked_us)
{
    if (from != hosted_leader(hosted) || hosted_leads(hosted)) {
        return;
    }
    pthread_mutex_lock(&hosted->mu);
    freshness_hear(&hosted->freshness, pulse, asked_us, hosted->counters.applied_index);
    pthread_mutex_unlock(&hosted->mu);
}

struct counters hosted_counters(struct hosted *hosted)
{
    pthread_mutex_lock(&hosted->mu);
    struct counters counters = hosted->counters;
    pthread_mutex_unlock(&hosted->mu);
    return counters;
}

size_t hosted_queued(struct hosted *hosted)
{
    pthread_mutex_lock(&hosted->mu);
    size_t queued = hosted->queue.count;
    pthread_mutex_unlock(&hosted->mu);
    return queued;
}

bool hosted_storage_ok(struct hosted *hosted)
{
    return atomic_load(&hosted->storage_ok);
}

struct replica *hosted_replica(struct hosted *hosted)
{
    return hosted->replica;
}
