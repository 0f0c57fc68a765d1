#include "service/call.h"

#include "handlers/digest.h"
#include "handlers/errand.h"
#include "handlers/gather.h"
#include "handlers/text_parse.h"
#include "service/cluster/cluster.h"
#include "service/forwarding.h"
#include "service/gathering.h"
#include "service/moving.h"
#include "service/shard_watches.h"
#include "service/sharding.h"

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
    sharding_end(call);
    free(call->body);
    call->body = NULL;
    arena_clear(&call->arena);
}

void call_free(struct call *call)
{
    arena_free(&call->arena);
    free(call);
}

size_t call_body_bytes_max(const struct call *call)
{
    return call->errand ? ERRAND_BYTES_MAX : BODY_BYTES_MAX;
}

void call_body(struct call *call, const char *bytes, size_t len)
{
    call->body_too_large |= len > call_body_bytes_max(call) - call->body_len;
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

void call_answered(struct call *call)
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

void call_elsewhere(struct call *call)
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

bool call_submit(struct call *call, const struct command *command)
{
    call_job(call, command, &call->x.result);
    enum status status = partition_submit(call->partition, &call->job);
    if (status == STATUS_OK) {
        return true;
    }
    call->state = CALL_STEPPING;
    if (status == STATUS_NOT_OWNER) {
        call_elsewhere(call);
        return true;
    }
    call->overrides = status;
    return false;
}

enum parking call_park(struct call *call, const struct topic *topic, uint64_t ticket,
                       int64_t wait_ms)
{
    int64_t deadline_ms = clock_now(call->engine->clock).lease_now_ms + wait_ms;
    call->state = CALL_PARKED; /* before it is parked: from then on it may be woken */
    enum parking parking =
        parked_add(call->engine->parked, &call->parked, topic, ticket, deadline_ms, call->socket);
    if (parking != PARKED) {
        call->state = CALL_STEPPING;
    }
    return parking;
}

/* Parks. False when the call must go on at once, with *next. */
static bool park(struct call *call, enum next *next)
{
    struct exchange *x = &call->x;
    if (call->gone) {
        *next = exchange_wake(x, WAKE_HUNG_UP);
        return false;
    }
    enum parking parking =
        call_park(call, &x->topic, call->ticket, x->waits_until - x->now.lease_now_ms);
    if (parking == PARKED) {
        return true;
    }
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

/* What is of the table is told by who leads its group; by anybody, when that is not known. */
static bool of_table(const struct call *call)
{
    return call->x.route->of_table && call->engine->cluster != NULL;
}

bool call_owner(const struct call *call, struct cluster_owner *ret)
{
    struct cluster *cluster = call->engine->cluster;
    return of_table(call) ? cluster_table_leader(cluster, ret)
                          : cluster_owner_of(cluster, call->x.partition, ret);
}

bool call_serves(const struct call *call)
{
    struct cluster_owner owner;
    if (!of_table(call)) {
        return partition_serves(call->partition);
    }
    return call->forwarded || !call_owner(call, &owner) || owner.self;
}

void call_begin_again(struct call *call)
{
    inflight_remove(call->engine->inflight, call->inflight);
    call->inflight = NULL;
    if (call->gone) { /* and with it the request's fields: it would be another one, without its Idempotency-Key */
        call_end_with(call, STATUS_NO_LEADER);
        return;
    }
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
    call_answered(call);
    return true;
}

/* Looks at the state. True: and goes on with *next. False: the call's state says what it does next. */
static bool look(struct call *call, enum next *next)
{
    take_ticket(call);
    if (reading_wants_group(call)) {
        *next = NEXT_ANSWER;
        return !reading_ask_group(call);
    }
    if (!reading_run(call)) {
        call_elsewhere(call);
        return false;
    }
    if (follows(call)) {
        return false;
    }
    *next = exchange_continue(&call->x);
    return true;
}

static void step(struct call *call, enum next next)
{
    while (true) {
        reading_set_clocks(call);
        switch (next) {
        case NEXT_READ:
            if (!look(call, &next)) {
                return;
            }
            break;
        case NEXT_COMMIT:
            take_ticket(call);
            if (call_submit(call, &call->x.command)) {
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
            reading_add_age(call);
            call_answered(call);
            return;
        }
    }
}

/* The group has been asked, for a strong read. */
static void go_on_reading(struct call *call)
{
    enum status status = reading_take_answer(call);
    if (status == STATUS_NOT_OWNER) {
        call_elsewhere(call);
    } else if (status != STATUS_OK) {
        call_end_with(call, status);
    } else if (call->gather != NULL) {
        gathering_go_on(call);
    } else {
        step(call, NEXT_READ);
    }
}

bool call_note_inflight(struct call *call)
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
    reading_set_clocks(call);
}

void call_note_head(struct call *call)
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
    /* What only members ask for, of each other. */
    call->errand = call->forwarded && request->method == METHOD_POST &&
                   text_given(request->header(request->source, "Ringhold-Errand"));
}

void call_begin(struct call *call)
{
    struct exchange *x = &call->x;
    x->asked_count = 0;
    x->response = (struct response){.status = 0};
    enum status status = exchange_prepare(x);
    place(call);
    if (status == STATUS_OK && call->engine->cluster != NULL && exchange_asks_partition(x)) {
        if (gather_wanted(x) && !call->forwarded) {
            gathering_begin(call);
            return;
        } else if (!reading_possible(call)) {
            if (!sharding_began_away(call)) {
                call_elsewhere(call);
            }
            return;
        }
    }
    if (status == STATUS_OK && of_table(call) && !call_serves(call)) {
        call_elsewhere(call);
        return;
    }
    if (status == STATUS_OK && moving_hold(call)) {
        return;
    }
    if (status == STATUS_OK && call->engine->cluster != NULL && sharding_began(call)) {
        return;
    }
    enum next next = status == STATUS_OK ? exchange_begin(x) : exchange_problem(x, status);
    if (next == NEXT_COMMIT && !call_note_inflight(call)) {
        next = exchange_problem(x, STATUS_IDEMPOTENCY_IN_FLIGHT);
    }
    if (next == NEXT_COMMIT && moving_wanted(call)) {
        moving_begin(call);
        return;
    }
    step(call, next);
}

/* Another member says what became ready for those who wait here. True: that is all it wants. */
static bool is_told(struct call *call)
{
    const struct request *request = &call->x.request;
    struct text queue = request->header(request->source, "Ringhold-Ready");
    struct text count = request->header(request->source, "Ringhold-Ready-Count");
    struct event event = {.kind = EVENT_READY, .name = queue};
    if (!text_given(queue) || !text_given(count) || !parse_decimal(count, &event.count)) {
        return false;
    }
    parked_notify(call->engine->parked, &event, 1);
    exchange_respond(&call->x, 204, TEXT_ABSENT);
    call->state = CALL_ANSWERED;
    return true;
}

/* An errand may say who wants to be told of what becomes ready later. */
static void note_watch(struct call *call)
{
    const struct request *request = &call->x.request;
    struct text queue = request->header(request->source, "Ringhold-Watch");
    struct text watcher = request->header(request->source, "Ringhold-Watcher");
    if (text_given(queue) && text_given(watcher)) {
        shard_watches_add(call->engine->shard_watches, queue, watcher);
    }
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
    if (call->errand && is_told(call)) {
        return;
    }
    if (call->errand) {
        note_watch(call); /* before it looks: what becomes ready behind its back is told */
        x->route = &errand_route;
    } else if (exchange_route(x) != STATUS_OK || call->overrides != STATUS_OK) {
        call_answered(call);
        return;
    }
    call_begin(call);
}

void call_look_at_result(struct call *call)
{
    /* With a version it is a shard's answer to an errand. */
    bool answers = call->errand && call->x.result.version != 0;
    if (call->x.result.status == STATUS_NOT_OWNER && !answers) {
        call_elsewhere(call);
    } else if (!follows(call)) {
        step(call, exchange_continue(&call->x));
    }
}

enum wake call_reason_to_wake(struct call *call)
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
    if (call->reading.asking) {
        go_on_reading(call);
        return;
    }
    reading_set_clocks(call);
    if (call->moving != NULL) {
        moving_go_on(call);
        return;
    }
    if (call->sharding != NULL) {
        sharding_go_on(call);
        return;
    }
    if (before == CALL_COMMITTING) {
        call_look_at_result(call);
        return;
    }
    assert(before == CALL_PARKED);
    enum wake why = call_reason_to_wake(call);
    step(call, exchange_wake(&call->x, why));
}
