#include "service/moving.h"

#include "service/errand.h"

enum { TRIES_MAX = 10, HOLD_MS = 50, HOLDS_MAX = 40 };

struct moving {
    enum { ARRIVING, DEPARTING, RECALLING } step;
    struct partition *to;
    struct command command; /* for `to`: it arrives, or is recalled */
    struct result result;
    bool again; /* once it is recalled */
    int tries;
    struct inflight_note *note; /* in engine->moves */
};

bool moving_wanted(const struct call *call)
{
    const struct command *command = &call->x.command;
    const struct partitions *partitions = &call->engine->partitions;
    return command->kind == COMMAND_SESSION_ROTATE &&
           text_given(command->session_rotate.subject_tag) &&
           partitions_find(partitions, command->session_rotate.subject_tag) != call->partition;
}

static bool changes_session(enum command_kind kind)
{
    return kind == COMMAND_SESSION_PUT || kind == COMMAND_SESSION_PATCH ||
           kind == COMMAND_SESSION_DELETE || kind == COMMAND_SESSION_ROTATE;
}

bool moving_hold(struct call *call)
{
    const struct engine *engine = call->engine;
    struct text id = call->x.params[0];
    if (engine->cluster == NULL || call->moving != NULL || call->gone || call->holds == HOLDS_MAX ||
        !changes_session(call->x.command.kind)) {
        return false;
    }
    const struct topic topic = {.kind = EVENT_SESSION, .name = id};
    uint64_t ticket = parked_ticket(engine->parked, &topic);
    if (!inflight_has(engine->moves, id)) {
        return false;
    }
    call->holds++;
    call->held = true; /* before it is parked: from then on it may be woken */
    bool parked = call_park(call, &topic, ticket, HOLD_MS) == PARKED;
    if (!parked) {
        call->held = false;
    }
    return parked;
}

/* ---- having something carried out --------------------------------------------------------------------------------- */

/* False when it is not under way: the result says why. */
static bool submitted(struct call *call, struct result *result, enum status status)
{
    if (status != STATUS_OK) {
        call->state = CALL_STEPPING;
        *result = (struct result){.status = status, .stamp = call->x.now};
    }
    return status == STATUS_OK;
}

static bool submit_there(struct call *call)
{
    struct moving *moving = call->moving;
    moving->command.stamp = partition_now(moving->to);
    call_job(call, &moving->command, &moving->result);
    enum status status = partition_submit(moving->to, &call->job);
    if (status == STATUS_NOT_OWNER) {
        status = errand_submit(call->engine, moving->to->id, &call->job,
                               (struct errand_terms){ERRAND_MS_MAX, TEXT_ABSENT});
    }
    return submitted(call, &moving->result, status);
}

static bool submit_here(struct call *call)
{
    call_job(call, &call->x.command, &call->x.result);
    return submitted(call, &call->x.result, partition_submit(call->partition, &call->job));
}

/* ---- the steps, from the last to the first ------------------------------------------------------------------------ */

static void end(struct call *call)
{
    struct moving *moving = call->moving;
    if (moving->again && moving->tries < TRIES_MAX && !call->gone) {
        moving->again = false;
        call_begin_again(call);
        return;
    }
    inflight_remove(call->engine->moves, moving->note);
    call->moving = NULL;
    call_look_at_result(call);
}

static void recall(struct call *call)
{
    struct moving *moving = call->moving;
    struct text id = moving->command.session_arrive.id;
    moving->step = RECALLING;
    moving->command = (struct command){.kind = COMMAND_SESSION_DELETE,
                                       .session_delete = {.id = id, .condition = UNCONDITIONAL}};
    if (!submit_there(call)) {
        end(call);
    }
}

static void departed(struct call *call)
{
    struct moving *moving = call->moving;
    const struct result *result = &call->x.result;
    bool arrived = moving->command.kind == COMMAND_SESSION_ARRIVE;
    moving->again = result->status == STATUS_OVERLOADED;
    bool done = result->status == STATUS_OK && !result->replayed;
    if (done || !arrived || result->status == STATUS_OUTCOME_UNKNOWN) {
        end(call);
    } else {
        recall(call);
    }
}

static void depart(struct call *call)
{
    call->moving->step = DEPARTING;
    if (!submit_here(call)) {
        departed(call);
    }
}

static void arrived(struct call *call)
{
    struct moving *moving = call->moving;
    if (moving->result.status == STATUS_OK) {
        depart(call);
        return;
    }
    call->x.result = (struct result){.status = STATUS_NO_LEADER, .stamp = call->x.now};
    recall(call);
}

void moving_begin(struct call *call)
{
    struct exchange *x = &call->x;
    if (call->moving == NULL) {
        call->moving = arena_zalloc(&call->arena, 1, sizeof *call->moving);
        if (call->moving == NULL) {
            call_end_with(call, STATUS_OUT_OF_MEMORY);
            return;
        }
        inflight_add(call->engine->moves, x->params[0], &call->moving->note);
    }
    struct moving *moving = call->moving;
    moving->tries++;
    moving->to = partitions_find(&call->engine->partitions, x->command.session_rotate.subject_tag);
    struct command pack = {
        .kind = COMMAND_SESSION_PACK, .stamp = x->now, .session_pack = x->command.session_rotate};
    partition_read(call->partition, &call->readers[x->partition], &pack, &call->arena,
                   &moving->result);
    x->command.stamp = x->now;
    moving->command = (struct command){.kind = COMMAND_SESSION_PACK};
    if (moving->result.status != STATUS_OK) {
        /* Refused, but perhaps since the same was asked before, with the same key: who commits it finds that out. */
        x->command.session_rotate.departs_at = 0;
        depart(call);
        return;
    }
    x->command.session_rotate.departs_at = moving->result.version;
    moving->command =
        (struct command){.kind = COMMAND_SESSION_ARRIVE, .session_arrive = moving->result.parcel};
    moving->step = ARRIVING;
    if (!submit_there(call)) {
        arrived(call);
    }
}

void moving_go_on(struct call *call)
{
    switch (call->moving->step) {
    case ARRIVING:
        arrived(call);
        break;
    case DEPARTING:
        departed(call);
        break;
    case RECALLING:
        end(call);
        break;
    }
}
