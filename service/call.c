#include "service/call.h"

#include "handlers/digest.h"
#include "handlers/gather.h"
#include "handlers/text_parse.h"
#include "service/cluster/cluster.h"
#include "service/forwarding.h"
#include "service/gathering.h"
#include "service/moving.h"

#include <assert.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>

struct call *call_make(struct call *spare, struct engine *engine, struct reader_slot *readers,
                       int socket)
{
    struct call *call = spare != NULL ? spare : calloc(1, sizeof *call);
    if (call == NULL) {
        return NULL;
    }
    *call = (struct call){.arena = call->arena,
                          .engine = engine,
                          .readers = readers,
                          .socket = socket,
                          .overrides = STATUS_OK,
                          .begun_us = clock_monotonic_us()};
    call->x = exchange_make(&engine->process, &call->arena);
    return call;
}

void call_end(struct call *call)
{
    assert(call->state != CALL_COMMITTING && call->state != CALL_PARKED);
    inflight_remove(call->engine->inflight, call->inflight);
    free(call->body);
    call->body = NULL;
    arena_clear(&call->arena);
}

void call_free(struct call *call)
{
    arena_free(&call->arena);
    free(call);
}

void call_body(struct call *call, const char *bytes, size_t len)
{
    call->body_too_large |= len > BODY_BYTES_MAX - call->body_len;
    if (call->body_too_large) {
        return;
    }
    if (call->body_room - call->body_len < len) {
        size_t room = (call->body_len + len) * 2;
        char *larger = realloc(call->body, room);
        if (larger == NULL) {
            call->overrides = STATUS_OUT_OF_MEMORY;
            return;
        }
        call->body = larger;
        call->body_room = room;
    }
    memcpy(call->body + call->body_len, bytes, len);
    call->body_len += len;
}

void call_refuse(struct call *call, enum status status, const char *why)
{
    exchange_refuse(&call->x, status, NULL, "%s", why);
    exchange_problem(&call->x, status);
    call->state = CALL_ANSWERED;
}

void call_end_with(struct call *call, enum status status)
{
    call->x.response.header_count = 0;
    call->x.result = (struct result){.status = status};
    exchange_problem(&call->x, status);
    call->state = CALL_ANSWERED;
}

/* Asks the same as the parked table watches for. A look at the next byte would not do: a client that sent one more and
   then left would be taken for present, parked again, and at once reported gone again, without end. */
bool call_hung_up(const struct call *call)
{
    struct pollfd socket = {.fd = call->socket, .events = POLLRDHUP};
    return call->gone || poll(&socket, 1, 0) > 0;
}

/* ---- the steps ---------------------------------------------------------------------------------------------------- */

static void answered(struct call *call)
{
    if (call->overrides != STATUS_OK) {
        call_end_with(call, call->overrides);
    }
    inflight_remove(call->engine->inflight, call->inflight);
    call->inflight = NULL;
    call->state = CALL_ANSWERED;
}

static void committed(struct job *job)
{
    struct call *call = (struct call *)((char *)job - offsetof(struct call, job));
    call->back(call);
}

void call_woken(struct parked_entry *entry)
{
    struct call *call = (struct call *)((char *)entry - offsetof(struct call, parked));
    call->back(call);
}

/* The partition is another member's, now or since a moment ago. Nothing of the request has been carried out. */
static void elsewhere(struct call *call)
{
    inflight_remove(call->engine->inflight, call->inflight); /* the owner notes it for itself */
    call->inflight = NULL;
    if (!call->forwarded) {
        forwarding_begin(call);
        return;
    }
    struct cluster_owner owner;
    if (cluster_owner_of(call->engine->cluster, call->x.partition, &owner)) {
        exchange_header(&call->x, "Ringhold-Owner", arena_copy(&call->arena, text_of(owner.name)));
    }
    exchange_problem(&call->x, STATUS_NOT_OWNER);
    call->state = CALL_ANSWERED;
}

void call_job(struct call *call, const struct command *command, struct result *result)
{
    call->job = (struct job){
        .command = command, .arena = &call->arena, .result = result, .done = committed};
    call->state = CALL_COMMITTING;
}

/* Hands the command to the committer. False when the call is to be answered at once. */
static bool commit(struct call *call)
{
    call_job(call, &call->x.command, &call->x.result);
    enum status status = partition_submit(call->partition, &call->job);
    if (status == STATUS_OK) {
        return true;
    }
    call->state = CALL_STEPPING;
    if (status == STATUS_NOT_OWNER) {
        elsewhere(call);
        return true;
    }
    call->overrides = status;
    return false;
}

/* Parks. False when the call must go on at once, with *next. */
static bool park(struct call *call, enum next *next)
{
    struct exchange *x = &call->x;
    if (call->gone) {
        *next = exchange_wake(x, WAKE_HUNG_UP);
        return false;
    }
    call->state = CALL_PARKED;
    int64_t left_ms = x->waits_until - x->now.lease_now_ms;
    int64_t deadline_ms = clock_now(call->engine->clock).lease_now_ms + left_ms;
    enum parking parking = parked_add(call->engine->parked, &call->parked, &x->topic, call->ticket,
                                      deadline_ms, call->socket);
    if (parking == PARKED) {
        return true;
    }
    call->state = CALL_STEPPING;
    if (parking == PARK_LOOK_AGAIN) {
        *next = exchange_wake(x, WAKE_EVENT);
    } else if (call->engine->draining) {
        *next = exchange_wake(x, WAKE_DRAINING);
    } else {
        /* As if the client had gone: what it waits with is taken back, and it is told to come again. */
        call->overrides = STATUS_TOO_MANY_PARKED;
        *next = exchange_wake(x, WAKE_HUNG_UP);
    }
    return false;
}

/* The topic's ticket is taken before the look at the state: an event in between must not be missed. */
static void take_ticket(struct call *call)
{
    if (call->x.wait_ms > 0) {
        call->ticket = parked_ticket(call->engine->parked, &call->x.topic);
    }
}

/* The ring is what this process knows of it, whatever partitions are here; its watchers only need somewhere to look. */
static bool asks_partition(const struct call *call)
{
    return !call->x.route->local && call->x.command.kind != COMMAND_TOTALS;
}

/* False when the partition is not served here. */
static bool read_state(struct call *call)
{
    if (!asks_partition(call)) {
        call->x.result = (struct result){.status = STATUS_OK, .stamp = call->x.now};
        return true;
    }
    if (!partition_serves(call->partition)) {
        return false;
    }
    partition_read(call->partition, &call->readers[call->partition->id], &call->x.command,
                   &call->arena, &call->x.result);
    return call->x.result.status != STATUS_NOT_OWNER;
}

void call_begin_again(struct call *call)
{
    inflight_remove(call->engine->inflight, call->inflight);
    call->inflight = NULL;
    call->state = CALL_STEPPING;
    call_begin(call);
}

void call_follow(struct call *call, struct text routing_key)
{
    call->moved_to = arena_copy(&call->arena, routing_key);
    call_begin_again(call);
}

/* Whether the session that was asked for has moved to another partition, where the call goes on: from here, or from the
   member that forwarded it. */
static bool follows(struct call *call)
{
    struct text moved = call->x.result.moved;
    if (call->x.result.status != STATUS_SESSION_ENDED || !text_given(moved) ||
        call->engine->cluster == NULL) {
        return false;
    }
    struct text key = text_routing_key(moved);
    if (!call->forwarded) {
        call_follow(call, key);
        return true;
    }
    exchange_header(&call->x, "Ringhold-Routing-Key", arena_copy(&call->arena, key));
    exchange_problem(&call->x, STATUS_NOT_OWNER);
    answered(call);
    return true;
}

static void step(struct call *call, enum next next)
{
    while (true) {
        call->x.now = partition_now(call->partition);
        switch (next) {
        case NEXT_READ:
            take_ticket(call);
            if (!read_state(call)) {
                elsewhere(call);
                return;
            }
            if (follows(call)) {
                return;
            }
            next = exchange_continue(&call->x);
            break;
        case NEXT_COMMIT:
            take_ticket(call);
            if (commit(call)) {
                return;
            }
            next = NEXT_ANSWER;
            break;
        case NEXT_PARK:
            if (park(call, &next)) {
                return;
            }
            break;
        case NEXT_ANSWER:
            answered(call);
            return;
        }
    }
}

/* Notes the request's Idempotency-Key. False when another request with it is still running. */
static bool note_inflight(struct call *call)
{
    struct text key_hash = call->x.command.idempotency.key_hash;
    if (!text_given(key_hash)) {
        return true;
    }
    return inflight_add(call->engine->inflight, key_hash, &call->inflight);
}

/* From here on the call is its partition's: its clocks, its reader, its committer. */
static void place(struct call *call)
{
    struct exchange *x = &call->x;
    if (text_given(call->moved_to)) {
        x->routing_key = call->moved_to;
    } else if (text_given(x->request.routing_key)) {
        x->routing_key = x->request.routing_key; /* the member that forwards it knows of a move */
    }
    call->partition = partitions_find(&call->engine->partitions, x->routing_key);
    int64_t asked;
    if (call->forwarded && !text_given(x->routing_key) &&
        parse_decimal(x->request.header(x->request.source, "Ringhold-Partition"), &asked) &&
        asked < call->engine->partitions.count) {
        call->partition = &call->engine->partitions.at[asked]; /* its share of a list */
    }
    x->partition = call->partition->id;
    x->now = partition_now(call->partition);
}

/* A request that a member forwards proves itself by what only members know. */
static void note_member(struct call *call)
{
    struct request *request = &call->x.request;
    if (call->engine->cluster == NULL) {
        return;
    }
    struct text token = request->header(request->source, "Ringhold-Forwarded");
    struct text known = cluster_forward_token(call->engine->cluster);
    call->forwarded = text_given(token) && digest_equal(token, known);
    if (call->forwarded) {
        atomic_store_explicit(&call->engine->asked_us, call->begun_us, memory_order_relaxed);
    }
    request->routing_key =
        call->forwarded ? request->header(request->source, "Ringhold-Routing-Key") : TEXT_ABSENT;
}

void call_begin(struct call *call)
{
    struct exchange *x = &call->x;
    x->asked_count = 0;
    x->response = (struct response){.status = 0};
    enum status status = exchange_prepare(x);
    place(call);
    if (status == STATUS_OK && call->engine->cluster != NULL && asks_partition(call)) {
        if (gather_wanted(x) && !call->forwarded) {
            gathering_begin(call);
            return;
        } else if (!partition_serves(call->partition)) {
            elsewhere(call);
            return;
        }
    }
    if (status == STATUS_OK && moving_hold(call)) {
        return;
    }
    enum next next = status == STATUS_OK ? exchange_begin(x) : exchange_problem(x, status);
    if (next == NEXT_COMMIT && !note_inflight(call)) {
        next = exchange_problem(x, STATUS_IDEMPOTENCY_IN_FLIGHT);
    }
    if (next == NEXT_COMMIT && moving_wanted(call)) {
        moving_begin(call);
        return;
    }
    step(call, next);
}

void call_start(struct call *call)
{
    struct exchange *x = &call->x;
    call->state = CALL_STEPPING;
    x->now = clock_now(call->engine->clock);
    x->request.body = (struct text){call->body == NULL ? "" : call->body, call->body_len};
    if (call->body_too_large) {
        call_refuse(call, STATUS_BODY_TOO_LARGE, "The body is larger than 1048576 bytes.");
        return;
    }
    if (exchange_route(x) != STATUS_OK || call->overrides != STATUS_OK) {
        answered(call);
        return;
    }
    note_member(call);
    call_begin(call);
}

void call_look_at_result(struct call *call)
{
    if (call->x.result.status == STATUS_NOT_OWNER) {
        elsewhere(call);
    } else if (!follows(call)) {
        step(call, exchange_continue(&call->x));
    }
}

/* What woke a parked call, as its handler must see it. */
static enum wake reason_to_wake(struct call *call)
{
    bool really = call_hung_up(call);
    if (really && call->parked.why == WAKE_EVENT && call->parked.queued_up) {
        /* Woken one for one, and nobody is there: the next in the line has the turn. */
        struct event turn = {.kind = EVENT_READY, .name = call->x.topic.name, .count = 1};
        parked_notify(call->engine->parked, &turn, 1);
    }
    return really ? WAKE_HUNG_UP : call->parked.why == WAKE_HUNG_UP ? WAKE_EVENT : call->parked.why;
}

void call_go_on(struct call *call)
{
    enum call_state before = call->state;
    call->state = CALL_STEPPING;
    if (call->forwarding != NULL) {
        forwarding_go_on(call);
        return;
    }
    if (call->held) {
        call->held = false;
        call_begin(call);
        return;
    }
    call->x.now = partition_now(call->partition);
    if (call->moving != NULL) {
        moving_go_on(call);
        return;
    }
    if (before == CALL_COMMITTING) {
        call_look_at_result(call);
        return;
    }
    assert(before == CALL_PARKED);
    enum wake why = reason_to_wake(call);
    step(call, exchange_wake(&call->x, why));
}
