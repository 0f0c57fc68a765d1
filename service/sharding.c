#include "service/sharding.h"

#include "handlers/ring.h"
#include "handlers/spread.h"
#include "service/errand.h"

#include <stdlib.h>

enum {
    NOTES = 256,
    PAUSE_MS = 20,        /* until a shard without a leader, or one being sealed, is asked again */
    PATIENCE_MS = 5000,   /* how long one is asked again */
    STALE_PAUSES = 5,     /* before home is renewed: whoever seals is about to change it */
    STALE_MAX = 50,       /* how often a request finds a shard ahead */
    LOOK_MS = 1000,       /* how often a parked receive thinks of shards that are elsewhere */
    LOOK_US_MAX = 2000000 /* how long none of them is looked at */
};

struct shard_note {
    _Atomic uint64_t turn;
    _Atomic int64_t looked_us; /* when a receive last came by all shards in vain */
    _Atomic int64_t depths[SHARDS_MAX];
    _Atomic int64_t due_us[SHARDS_MAX]; /* when something in the shard is due; 0: not known */
};
struct shard_notes {
    struct shard_note at[NOTES];
};

struct shard_notes *shard_notes_make(void)
{
    return calloc(1, sizeof(struct shard_notes));
}

/* Why the call is not on its loop. */
enum absence { ABSENT_FOR_TASK, ABSENT_FOR_RENEWAL, ABSENT_FOR_A_MOMENT, ABSENT_FOR_MESSAGES };

struct sharding {
    struct spread *spread;
    struct shard_note *note;
    struct partition *home;
    struct queue_view plan;
    struct spread_task task;
    struct command renewal;
    struct result *result;
    enum absence absence;
    bool far;           /* the task is another member's */
    int stale;          /* how often a shard was ahead of the plan */
    int64_t give_up_us; /* when a shard without a leader is not asked again */
    bool near[SHARDS_MAX];
    int64_t depths[SHARDS_MAX];
};

static void run(struct call *call);

static struct partition *partition_of(const struct call *call, int64_t shard)
{
    const struct partitions *partitions = &call->engine->partitions;
    int64_t home = call->sharding->home->id;
    return &partitions->at[ring_shard(home, shard, partitions->count)];
}

/* ---- the plan ----------------------------------------------------------------------------------------------------- */

/* OK, QUEUE_NOT_FOUND, or what else a read may say. */
static enum status read_plan(struct call *call, struct partition *home, struct text queue,
                             struct queue_view *ret)
{
    struct result result;
    struct command command = {
        .kind = COMMAND_QUEUE_PLAN, .stamp = partition_now(home), .queue_plan = {.name = queue}};
    partition_read(home, &call->readers[home->id], &command, &call->arena, &result);
    if (result.status == STATUS_OK) {
        *ret = result.queue;
    }
    return result.status;
}

static struct spread_hints hints_of(struct call *call)
{
    struct sharding *sharding = call->sharding;
    struct shard_note *note = sharding->note;
    for (int64_t i = 0; i < sharding->plan.spread; i++) {
        sharding->near[i] = partition_serves(partition_of(call, i));
        sharding->depths[i] = atomic_load_explicit(&note->depths[i], memory_order_relaxed);
    }
    return (struct spread_hints){
        .turn = atomic_fetch_add_explicit(&note->turn, 1, memory_order_relaxed),
        .near = sharding->near,
        .depths = sharding->depths};
}

bool sharding_began(struct call *call)
{
    struct queue_view plan;
    struct text queue;
    struct exchange *x = &call->x;
    if (!spread_concerns(x, &queue) ||
        read_plan(call, call->partition, queue, &plan) != STATUS_OK || plan.spread <= 1) {
        return false;
    }
    if (x->consistency == CONSISTENCY_STALE) { /* of several leaders' states none is the queue's */
        x->consistency = CONSISTENCY_LEADER;
        if (!partition_serves(call->partition)) {
            call_elsewhere(call);
            return true;
        }
    }
    struct sharding *sharding = arena_zalloc(&call->arena, 1, sizeof *sharding);
    if (sharding == NULL || !call_note_inflight(call)) {
        call_end_with(call, sharding == NULL ? STATUS_OUT_OF_MEMORY : STATUS_IDEMPOTENCY_IN_FLIGHT);
        return true;
    }
    if (x->waits_until == 0) { /* it is not begun anew */
        x->waits_until = x->now.lease_now_ms + x->wait_ms;
    }
    call->sharding = sharding;
    sharding->plan = plan;
    sharding->home = call->partition;
    sharding->note = &call->engine->shard_notes->at[ring_hash(queue) % NOTES];
    sharding->give_up_us = clock_monotonic_us() + PATIENCE_MS * 1000;
    call->ticket = parked_ticket(call->engine->parked, &x->topic);
    sharding->spread = spread_begin(x, &sharding->plan, hints_of(call));
    if (sharding->spread == NULL) {
        call_end_with(call, STATUS_OUT_OF_MEMORY);
    } else {
        run(call);
    }
    return true;
}

/* ---- ending ------------------------------------------------------------------------------------------------------- */

static void finish(struct call *call)
{
    call->partition = call->sharding->home;
    call->x.partition = call->partition->id;
    (void)spread_end(call->sharding->spread);
    call_answered(call);
}

/* From the beginning, by what the plan is now. Nothing has been carried out. */
static void begin_anew(struct call *call)
{
    call->partition = call->sharding->home;
    call->sharding = NULL;
    call_begin_again(call);
}

/* Home is another member's now, or is another queue. */
static void lost_home(struct call *call)
{
    if (spread_untouched(call->sharding->spread)) {
        begin_anew(call);
        return;
    }
    spread_miss(call->sharding->spread, STATUS_OUTCOME_UNKNOWN);
    run(call);
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

/* A moment that nothing but the client's hang-up ends. False: it cannot be waited for. */
static bool pause_call(struct call *call)
{
    struct sharding *sharding = call->sharding;
    struct topic topic = {.kind = EVENT_RING, .name = sharding->plan.name};
    uint64_t ticket = parked_ticket(call->engine->parked, &topic);
    if (call->gone || call->engine->draining) {
        return false;
    }
    sharding->absence = ABSENT_FOR_A_MOMENT;
    return call_park(call, &topic, ticket, PAUSE_MS) == PARKED;
}

/* Comes by all shards once more. */
static void look_again(struct call *call)
{
    struct sharding *sharding = call->sharding;
    if (!partition_serves(sharding->home)) {
        begin_anew(call); /* where home is now they know better; this call holds nothing */
        return;
    }
    call->ticket = parked_ticket(call->engine->parked, &call->x.topic);
    (void)hints_of(call);
    spread_again(sharding->spread);
    run(call);
}

/* How long it may sleep: a receive must think of the shards elsewhere, too. */
static int64_t sleep_ms(const struct exchange *x)
{
    int64_t left_ms = x->waits_until - x->now.lease_now_ms;
    bool far = x->command.kind == COMMAND_MESSAGE_RECEIVE;
    return far && left_ms > LOOK_MS ? LOOK_MS : left_ms;
}

/* Parks by the ticket that was taken before the shards were looked at. */
static void wait(struct call *call)
{
    struct exchange *x = &call->x;
    if (call->gone || x->now.lease_now_ms >= x->waits_until) {
        finish(call);
        return;
    }
    call->sharding->absence = ABSENT_FOR_MESSAGES;
    enum parking parking = call_park(call, &x->topic, call->ticket, sleep_ms(x));
    if (parking == PARKED) {
        return;
    }
    if (parking == PARK_LOOK_AGAIN) {
        look_again(call);
        return;
    }
    if (!call->engine->draining) {
        call->overrides = STATUS_TOO_MANY_PARKED;
    }
    finish(call);
}

/* Whether a shard elsewhere may have got something that nobody told us of. */
static bool worth_a_look(const struct sharding *sharding)
{
    int64_t now_us = clock_monotonic_us();
    bool due = now_us - atomic_load(&sharding->note->looked_us) > LOOK_US_MAX;
    for (int64_t i = 0; i < sharding->plan.spread && !due; i++) {
        due = !sharding->near[i] && atomic_load(&sharding->note->due_us[i]) <= now_us;
    }
    return due;
}

/* ---- one task ----------------------------------------------------------------------------------------------------- */

/* Those who wait for messages here are not told by the state machine of what happens elsewhere. */
static void tell(struct call *call, const struct command *command, const struct result *result)
{
    const struct sharding *sharding = call->sharding;
    int64_t count = INT64_MAX;
    if (command->kind != COMMAND_SHARD_WRITE || !status_is_ok(result->status)) {
        return;
    }
    if (command->shard_write.operations.count > 0) {
        const struct command *operation = &command->shard_write.operations.at[0];
        if (operation->kind == COMMAND_MESSAGE_RECEIVE) {
            return;
        }
        count = operation->kind == COMMAND_MESSAGE_SEND ? (int64_t)result->sent.count : count;
    }
    struct text dead = spread_dead_letter(sharding->spread);
    struct event events[] = {{.kind = EVENT_READY, .name = sharding->plan.name, .count = count},
                             {.kind = EVENT_READY, .name = dead, .count = count}};
    parked_notify(call->engine->parked, events, text_given(dead) ? 2 : 1);
}

static void note(struct sharding *sharding, const struct result *result)
{
    int64_t shard = sharding->task.shard, due_us = INT64_MAX;
    if (sharding->task.command.kind != COMMAND_SHARD_WRITE || !status_is_ok(result->status)) {
        return;
    }
    if (result->due_in_ms != ABSENT && result->due_in_ms < DAY_MS) {
        due_us = clock_monotonic_us() + result->due_in_ms * 1000;
    }
    atomic_store(&sharding->note->depths[shard], result->depth);
    atomic_store(&sharding->note->due_us[shard], due_us);
}

/* The shard has no leader, as far as is known. */
static void no_leader(struct call *call)
{
    struct sharding *sharding = call->sharding;
    bool patient = spread_patient(sharding->spread) && clock_monotonic_us() < sharding->give_up_us;
    if (patient && pause_call(call)) {
        return; /* and the task is asked for again */
    }
    spread_miss(sharding->spread, STATUS_NO_LEADER);
    run(call);
}

static void submit(struct call *call, struct partition *partition, struct command *command);

/* The shard knows a newer configuration than the plan's, or has been sealed. */
static void stale(struct call *call, int64_t version)
{
    struct sharding *sharding = call->sharding;
    struct queue_view plan;
    enum status status = read_plan(call, sharding->home, sharding->plan.name, &plan);
    if (!partition_serves(sharding->home) || sharding->stale++ == STALE_MAX) {
        lost_home(call);
    } else if (status != STATUS_OK) {
        *sharding->result = (struct result){.status = status, .stamp = call->x.now};
        spread_take(sharding->spread, sharding->result);
        run(call);
    } else if (!spread_follow(sharding->spread, &plan)) {
        lost_home(call);
    } else if (plan.version >= version) {
        run(call);
    } else if (sharding->stale > STALE_PAUSES || !pause_call(call)) {
        sharding->renewal = (struct command){
            .kind = COMMAND_QUEUE_RENEW, .queue_renew = {.name = plan.name, .version = version}};
        sharding->absence = ABSENT_FOR_RENEWAL;
        submit(call, sharding->home, &sharding->renewal);
    }
}

/* The result of the task is there. */
static void take(struct call *call)
{
    struct sharding *sharding = call->sharding;
    const struct result *result = sharding->result;
    bool refused = result->status == STATUS_NOT_OWNER;
    if (refused && result->version == 0 && sharding->task.shard == 0) {
        lost_home(call);
    } else if (refused && result->version == 0) {
        no_leader(call);
    } else if (refused && !sharding->task.plain) {
        stale(call, result->version);
    } else if (result->status == STATUS_OUTCOME_UNKNOWN) {
        spread_miss(sharding->spread, STATUS_OUTCOME_UNKNOWN);
        run(call);
    } else {
        note(sharding, result);
        if (sharding->far) {
            tell(call, &sharding->task.command, result);
        }
        spread_take(sharding->spread, result);
        run(call);
    }
}

static void renewed(struct call *call)
{
    struct sharding *sharding = call->sharding;
    struct queue_view plan;
    if (sharding->result->status != STATUS_OK ||
        read_plan(call, sharding->home, sharding->plan.name, &plan) != STATUS_OK ||
        !spread_follow(sharding->spread, &plan)) {
        lost_home(call);
        return;
    }
    run(call);
}

static void submit(struct call *call, struct partition *partition, struct command *command)
{
    struct sharding *sharding = call->sharding;
    command->stamp = partition_now(partition);
    *sharding->result = (struct result){.status = STATUS_OK};
    call_job(call, command, sharding->result);
    if (!call->gone) {
        call->state =
            CALL_PARKED; /* suspended: libmicrohttpd does not come back to a GET by itself */
    }
    enum status status = partition_submit(partition, &call->job);
    sharding->far = status == STATUS_NOT_OWNER;
    if (sharding->far && partition != sharding->home) {
        status = errand_submit(call->engine, partition->id, &call->job);
    }
    if (status != STATUS_OK) {
        call->state = CALL_STEPPING;
        *sharding->result = (struct result){.status = status, .stamp = call->x.now};
        if (sharding->absence == ABSENT_FOR_RENEWAL) {
            renewed(call);
        } else {
            take(call);
        }
    }
}

static void ask(struct call *call)
{
    struct sharding *sharding = call->sharding;
    struct partition *partition = partition_of(call, sharding->task.shard);
    struct command *command = &sharding->task.command;
    sharding->result = arena_zalloc(&call->arena, 1, sizeof *sharding->result);
    if (sharding->result == NULL) {
        call_end_with(call, STATUS_OUT_OF_MEMORY);
    } else if (command_reads(command->kind) && partition_serves(partition)) {
        command->stamp = partition_now(partition);
        sharding->far = false;
        partition_read(partition, &call->readers[partition->id], command, &call->arena,
                       sharding->result);
        take(call);
    } else {
        sharding->absence = ABSENT_FOR_TASK;
        submit(call, partition, command);
    }
}

static void run(struct call *call)
{
    struct sharding *sharding = call->sharding;
    call->x.now = partition_now(sharding->home);
    switch (spread_next(sharding->spread, &sharding->task)) {
    case SPREAD_ASK:
        ask(call);
        return;
    case SPREAD_WAIT:
        atomic_store(&sharding->note->looked_us, clock_monotonic_us());
        wait(call);
        return;
    case SPREAD_DONE:
        finish(call);
        return;
    }
}

/* ---- coming back -------------------------------------------------------------------------------------------------- */

static void woken(struct call *call)
{
    struct exchange *x = &call->x;
    enum wake why = call_reason_to_wake(call);
    bool over =
        why == WAKE_HUNG_UP || why == WAKE_DRAINING || x->now.lease_now_ms >= x->waits_until;
    if (x->command.kind != COMMAND_MESSAGE_RECEIVE) { /* a watch: one more look, then 304 */
        x->waits_until = over ? x->now.lease_now_ms : x->waits_until;
        begin_anew(call);
    } else if (over) {
        finish(call);
    } else if (why == WAKE_TIME_OVER && !worth_a_look(call->sharding)) {
        wait(call);
    } else {
        look_again(call);
    }
}

void sharding_go_on(struct call *call)
{
    struct sharding *sharding = call->sharding;
    call->x.now = partition_now(sharding->home);
    switch (sharding->absence) {
    case ABSENT_FOR_TASK:
        take(call);
        return;
    case ABSENT_FOR_RENEWAL:
        renewed(call);
        return;
    case ABSENT_FOR_A_MOMENT:
        run(call);
        return;
    case ABSENT_FOR_MESSAGES:
        woken(call);
        return;
    }
}
