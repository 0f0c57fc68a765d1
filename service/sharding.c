#include "service/sharding.h"

#include "handlers/ring.h"
#include "service/errand.h"
#include "service/shard_notes.h"

#include <stddef.h>

enum {
    SIDE_MAX = 16,         /* tasks that are out at once */
    PAUSE_MS = 20,         /* until a shard without a leader, or one being sealed, is asked again */
    PATIENCE_MS = 5000,    /* how long one is asked again */
    STALE_PAUSES = 5,      /* before home is renewed: whoever seals is about to change it */
    STALE_MAX = 50,        /* how often a request finds a shard ahead */
    LOOK_MS = 1000,        /* how often a parked receive thinks of shards that are elsewhere */
    LOOK_US_MAX = 2000000, /* how long none of them is looked at */
    RECEIVE_MS_MAX = 5000, /* how long others' messages wait for a shard that does not answer */
    WHOLE_US = 500000,     /* how long a queue is taken for one that has no shards */
    PLAN_AGE_US_MAX = 1000000, /* of home's replica, where it is used */
};

/* Why the call is not on its loop. */
enum absence { ABSENT_FOR_TASKS, ABSENT_FOR_RENEWAL, ABSENT_FOR_A_MOMENT, ABSENT_FOR_MESSAGES };

/* A task on its way. */
struct trip {
    struct call *call;
    struct spread_task task;
    struct job job;
    struct arena arena; /* for the result, where others are out */
    struct result *result;
};

struct sharding {
    struct spread *spread;
    struct shard_note *note;
    struct partition *home;
    bool away; /* another member leads home */
    struct queue_view plan;
    struct trip trips[SIDE_MAX];
    size_t count;    /* of the trips of this round */
    int rounds;      /* that have begun */
    atomic_long out; /* that are not back, and one while they are sent out */
    struct command renewal;
    struct result renewed;
    enum absence absence;
    int stale;          /* how often a shard was ahead of the plan */
    int64_t give_up_us; /* when a shard without a leader is not asked again */
    bool near[SHARDS_MAX];
    int64_t depths[SHARDS_MAX];
    int64_t ready[SHARDS_MAX];
};

static void run(struct call *call);
static void go_home(struct call *call);

static struct partition *partition_of(const struct call *call, int64_t shard)
{
    const struct partitions *partitions = &call->engine->partitions;
    int64_t home = call->sharding->home->id;
    return &partitions->at[ring_shard(home, shard, partitions->count)];
}

/* A replica's clocks jump with its leader's. */
static struct stamp now_of(const struct call *call)
{
    const struct sharding *sharding = call->sharding;
    return sharding->away ? clock_now(call->engine->clock) : partition_now(sharding->home);
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
        sharding->ready[i] = atomic_load_explicit(&note->ready[i], memory_order_relaxed);
    }
    return (struct spread_hints){
        .turn = atomic_fetch_add_explicit(&note->turn, 1, memory_order_relaxed),
        .near = sharding->near,
        .depths = sharding->depths,
        .ready = sharding->ready};
}

static void begin(struct call *call, const struct queue_view *plan, struct shard_note *note,
                  bool away)
{
    struct exchange *x = &call->x;
    struct sharding *sharding = arena_zalloc(&call->arena, 1, sizeof *sharding);
    if (sharding == NULL || !call_note_inflight(call)) {
        call_end_with(call, sharding == NULL ? STATUS_OUT_OF_MEMORY : STATUS_IDEMPOTENCY_IN_FLIGHT);
        return;
    }
    int64_t now_us = clock_monotonic_us();
    if (call->sharding_until_us == 0) { /* it is not begun anew */
        call->sharding_until_us = now_us + x->wait_ms * 1000;
    }
    call->sharding = sharding;
    sharding->plan = *plan;
    sharding->home = call->partition;
    sharding->away = away;
    sharding->note = note;
    sharding->give_up_us = now_us + PATIENCE_MS * 1000;
    x->now = now_of(call);
    x->waits_until = x->now.lease_now_ms + (call->sharding_until_us - now_us + 999) / 1000;
    call->ticket = parked_ticket(call->engine->parked, &x->topic);
    sharding->spread = spread_begin(x, &sharding->plan, hints_of(call));
    if (sharding->spread == NULL) {
        call_end_with(call, STATUS_OUT_OF_MEMORY);
    } else if (away && !spread_fits(sharding->spread)) {
        go_home(call);
    } else {
        run(call);
    }
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
    begin(call, &plan, shard_notes_find(call->engine->shard_notes, queue), false);
    return true;
}

/* What each shard judges by the configuration that comes with it, so that an old one does no harm. */
static bool goes_by_shards(const struct call *call)
{
    switch ((int)call->x.command.kind) {
    case COMMAND_MESSAGE_SEND:
    case COMMAND_MESSAGE_RECEIVE:
    case COMMAND_MESSAGE_SETTLE:
        return true;
    default:
        return false;
    }
}

/* Home's replica is here, and knows all that its leader knew a moment ago. */
static bool has_fresh_copy(struct call *call)
{
    struct partition_copy copy = partition_copy(call->partition);
    return copy.here && copy.age_us != AGE_UNKNOWN && copy.age_us <= PLAN_AGE_US_MAX;
}

bool sharding_began_away(struct call *call)
{
    struct queue_view plan;
    struct text queue;
    if (call->forwarded || call->at_home || !goes_by_shards(call) ||
        !spread_concerns(&call->x, &queue)) {
        return false;
    }
    struct shard_note *note = shard_notes_find(call->engine->shard_notes, queue);
    if (atomic_load(&note->whole_until_us) > clock_monotonic_us() || !has_fresh_copy(call)) {
        return false;
    }
    if (read_plan(call, call->partition, queue, &plan) != STATUS_OK || plan.spread <= 1) {
        atomic_store(&note->whole_until_us, clock_monotonic_us() + WHOLE_US);
        return false;
    }
    begin(call, &plan, note, true);
    return true;
}

/* ---- ending ------------------------------------------------------------------------------------------------------- */

void sharding_end(struct call *call)
{
    struct sharding *sharding = call->sharding;
    for (size_t i = 0; sharding != NULL && i < SIDE_MAX; i++) {
        arena_free(&sharding->trips[i].arena);
    }
    call->sharding = NULL;
}

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
    sharding_end(call);
    call_begin_again(call);
}

/* To home's leader, who knows. Nothing has been carried out. */
static void go_home(struct call *call)
{
    call->at_home = true;
    begin_anew(call);
}

/* Home is another member's now, or is another queue. */
static void lost_home(struct call *call)
{
    struct sharding *sharding = call->sharding;
    if (!spread_untouched(sharding->spread)) {
        spread_end_unknown(sharding->spread);
        run(call);
    } else if (sharding->away) {
        go_home(call);
    } else {
        begin_anew(call);
    }
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
    if (!sharding->away && !partition_serves(sharding->home)) {
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

/* Whether a shard elsewhere may have got something that nobody told us of: its leader was another one meanwhile. */
static bool worth_a_look(const struct sharding *sharding)
{
    return clock_monotonic_us() - atomic_load(&sharding->note->looked_us) > LOOK_US_MAX;
}

/* ---- a round is back ---------------------------------------------------------------------------------------------- */

/* What has become of a round, and what must happen before the next one. */
struct findings {
    bool lost;       /* home is led by another member now */
    bool leaderless; /* a shard that nobody else can stand in for */
    int64_t version; /* a shard knows one that is newer than the plan's, or has been sealed */
};

/* The shard has no leader, as far as is known. */
static void find_no_leader(struct call *call, const struct trip *trip, struct findings *findings)
{
    struct sharding *sharding = call->sharding;
    bool patient = spread_patient(sharding->spread) &&
                   clock_monotonic_us() < sharding->give_up_us && !call->gone &&
                   !call->engine->draining;
    if (patient) {
        findings->leaderless = true;
        spread_return(sharding->spread, &trip->task);
    } else {
        spread_miss(sharding->spread, &trip->task, STATUS_NO_LEADER);
    }
}

static void take(struct call *call, const struct trip *trip, struct findings *findings)
{
    struct sharding *sharding = call->sharding;
    const struct result *result = trip->result;
    bool refused = result->status == STATUS_NOT_OWNER;
    bool home_gone =
        sharding->away ? result->status == STATUS_QUEUE_NOT_FOUND : refused && result->version == 0;
    if (trip->task.shard == 0 && home_gone) {
        findings->lost = true;
        spread_return(sharding->spread, &trip->task);
    } else if (refused && result->version == 0) {
        find_no_leader(call, trip, findings);
    } else if (refused && !trip->task.plain) {
        findings->version =
            result->version > findings->version ? result->version : findings->version;
        spread_return(sharding->spread, &trip->task);
    } else if (result->status == STATUS_OUTCOME_UNKNOWN) {
        spread_miss(sharding->spread, &trip->task, STATUS_OUTCOME_UNKNOWN);
    } else {
        shard_note_result(sharding->note, &trip->task, result);
        spread_take(sharding->spread, &trip->task, result);
    }
}

static void renew_home(struct call *call, int64_t version);

/* A shard knows a newer configuration than the plan's. */
static void follow(struct call *call, int64_t version)
{
    struct sharding *sharding = call->sharding;
    struct queue_view plan;
    if (sharding->away && spread_untouched(sharding->spread)) {
        go_home(call);
        return;
    }
    bool knows = sharding->away ? has_fresh_copy(call) : partition_serves(sharding->home);
    enum status status = read_plan(call, sharding->home, sharding->plan.name, &plan);
    if (!knows || sharding->stale++ == STALE_MAX || status != STATUS_OK ||
        !spread_follow(sharding->spread, &plan)) {
        lost_home(call);
    } else if (plan.version >= version) {
        run(call);
    } else if ((sharding->away || sharding->stale <= STALE_PAUSES) && pause_call(call)) {
        return;
    } else if (sharding->away) {
        lost_home(call);
    } else {
        renew_home(call, version);
    }
}

static void take_all(struct call *call)
{
    struct sharding *sharding = call->sharding;
    struct findings findings = {.version = 0};
    size_t count = sharding->count;
    sharding->count = 0;
    for (size_t i = 0; i < count; i++) {
        take(call, &sharding->trips[i], &findings);
    }
    if (findings.lost) {
        lost_home(call);
    } else if (findings.version != 0) {
        follow(call, findings.version);
    } else if (!findings.leaderless || !pause_call(call)) {
        run(call);
    }
}

/* ---- a round goes out --------------------------------------------------------------------------------------------- */

/* On whatever thread has carried it out. The last one brings the call back. */
static void trip_done(struct job *job)
{
    struct trip *trip = (struct trip *)((char *)job - offsetof(struct trip, job));
    struct call *call = trip->call;
    if (atomic_fetch_sub(&call->sharding->out, 1) == 1) {
        call->back(call);
    }
}

static struct errand_terms terms_of(const struct call *call)
{
    const struct exchange *x = &call->x;
    bool receives = x->command.kind == COMMAND_MESSAGE_RECEIVE;
    bool waits = receives && x->now.lease_now_ms < x->waits_until;
    return (struct errand_terms){receives ? RECEIVE_MS_MAX : ERRAND_MS_MAX,
                                 waits ? call->sharding->plan.name : TEXT_ABSENT};
}

/* Sends a trip out. False: its result is there already. */
static bool set_out(struct call *call, struct trip *trip)
{
    struct sharding *sharding = call->sharding;
    struct partition *partition = partition_of(call, trip->task.shard);
    struct command *command = &trip->task.command;
    shard_note_task(sharding->note, &trip->task);
    command->stamp = partition_now(partition);
    if (command_reads(command->kind) && partition_serves(partition)) {
        partition_read(partition, &call->readers[partition->id], command, trip->job.arena,
                       trip->result);
        return false;
    }
    enum status status = partition_submit(partition, &trip->job);
    if (status == STATUS_NOT_OWNER && (partition != sharding->home || sharding->away)) {
        status = errand_submit(call->engine, partition->id, &trip->job, terms_of(call));
    }
    if (status != STATUS_OK) {
        *trip->result = (struct result){.status = status, .stamp = call->x.now};
    }
    return status == STATUS_OK;
}

/* Sends them all out. False: they are back already. */
static bool set_all_out(struct call *call)
{
    struct sharding *sharding = call->sharding;
    size_t count = sharding->count; /* once the last one is back, it is the loop's alone again */
    long back = 1;
    for (size_t i = 0; i < count; i++) {
        struct trip *trip = &sharding->trips[i];
        struct arena *arena = count == 1 ? &call->arena : &trip->arena;
        trip->result = arena_zalloc(&call->arena, 1, sizeof *trip->result);
        if (trip->result == NULL) {
            call_end_with(call, STATUS_OUT_OF_MEMORY);
            return true;
        }
        trip->call = call;
        trip->job = (struct job){&trip->task.command, arena, trip->result, trip_done, NULL};
    }
    sharding->absence = ABSENT_FOR_TASKS;
    /* Suspended, where libmicrohttpd does not come back by itself. */
    bool suspended = !call->gone && call->x.request.method == METHOD_GET;
    call->state = suspended ? CALL_PARKED : CALL_COMMITTING;
    atomic_store(&sharding->out, (long)count + 1);
    for (size_t i = 0; i < count; i++) {
        back += !set_out(call, &sharding->trips[i]);
    }
    if (atomic_fetch_sub(&sharding->out, back) == back) {
        call->state = CALL_STEPPING;
        return false;
    }
    return true;
}

static void renewed(struct call *call)
{
    struct sharding *sharding = call->sharding;
    struct queue_view plan;
    if (sharding->renewed.status != STATUS_OK ||
        read_plan(call, sharding->home, sharding->plan.name, &plan) != STATUS_OK ||
        !spread_follow(sharding->spread, &plan)) {
        lost_home(call);
        return;
    }
    run(call);
}

/* Has home's configuration become as new as that. */
static void renew_home(struct call *call, int64_t version)
{
    struct sharding *sharding = call->sharding;
    sharding->renewal =
        (struct command){.kind = COMMAND_QUEUE_RENEW,
                         .stamp = partition_now(sharding->home),
                         .queue_renew = {.name = sharding->plan.name, .version = version}};
    sharding->renewed = (struct result){.status = STATUS_OK};
    sharding->absence = ABSENT_FOR_RENEWAL;
    call_job(call, &sharding->renewal, &sharding->renewed);
    if (!call->gone && call->x.request.method == METHOD_GET) {
        call->state = CALL_PARKED;
    }
    enum status status = partition_submit(sharding->home, &call->job);
    if (status != STATUS_OK) {
        call->state = CALL_STEPPING;
        sharding->renewed.status = status;
        renewed(call);
    }
}

/* What spread_next wants now: the tasks of a round, or what else. */
static enum spread_next gather_round(struct call *call)
{
    struct sharding *sharding = call->sharding;
    enum spread_next next = SPREAD_ASK;
    sharding->count = 0;
    while (sharding->count < SIDE_MAX && next == SPREAD_ASK) {
        next = spread_next(sharding->spread, &sharding->trips[sharding->count].task);
        sharding->count += next == SPREAD_ASK;
    }
    return sharding->count > 0 ? SPREAD_ASK : next;
}

/* A receive that has begun to look: what it takes from here on nobody would get. */
static bool has_left(const struct call *call)
{
    return call->x.command.kind == COMMAND_MESSAGE_RECEIVE && call->sharding->rounds > 0 &&
           call_hung_up(call);
}

static void run(struct call *call)
{
    struct sharding *sharding = call->sharding;
    call->x.now = now_of(call);
    if (has_left(call)) {
        finish(call);
        return;
    }
    sharding->rounds++;
    switch (gather_round(call)) {
    case SPREAD_ASK:
        if (!set_all_out(call)) {
            take_all(call);
        }
        return;
    case SPREAD_WAIT:
        atomic_store(&sharding->note->looked_us, clock_monotonic_us());
        wait(call);
        return;
    case SPREAD_HOLD: /* nothing is out */
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
        call->sharding_until_us = over ? clock_monotonic_us() : call->sharding_until_us;
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
    call->x.now = now_of(call);
    switch (sharding->absence) {
    case ABSENT_FOR_TASKS:
        take_all(call);
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
