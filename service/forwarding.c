#include "service/forwarding.h"

#include "handlers/problem.h"
#include "handlers/redirect.h"
#include "service/answer.h"
#include "service/cluster/cluster.h"
#include "service/cluster/proxy.h"
#include "service/gathering.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

enum {
    TRIES_MAX = 3,          /* that reached somebody */
    PAUSE_MS = 50,          /* until the owner is looked for again */
    PATIENCE_MS = 5000,     /* how long an owner is looked for */
    ANSWER_MS_MAX = 10000,  /* beside what the client itself waits */
    STALE_ANSWER_MS = 1000, /* the same of a stale read: the next one may know as well */
    TOPIC_BYTES = 24,
    FIELDS_MAX = 16
};

/* Who comes first to where the proxy's answer and the loop meet. */
enum meeting { MEET_NOBODY, MEET_PROXY, MEET_LOOP };

struct forwarding {
    struct forward forward;
    struct call *call;
    bool sent;    /* else PAUSED */
    bool crowded; /* there was no room for it to be parked */
    bool cancelled;
    int tries;
    unsigned asked;     /* stale: how many holders of a replica have been asked */
    int64_t give_up_us; /* when no owner is looked for any more */
    atomic_int meeting;
    struct cluster_owner owner;
    char topic[TOPIC_BYTES]; /* what the proxy's answer wakes */
    struct proxy_header fields[FIELDS_MAX];
};

static void again(struct call *call);

static bool is_stale(const struct call *call)
{
    return call->x.consistency == CONSISTENCY_STALE;
}

/* Whether the last one that was asked was taken for the owner. */
static bool asked_owner(const struct call *call)
{
    return !is_stale(call) || call->forwarding->asked == 1;
}

/* ---- ending ------------------------------------------------------------------------------------------------------- */

/* Fields that this member says of itself, or libmicrohttpd for it. */
static bool is_own_field(struct text name)
{
    static const char *const OWN[] = {"Content-Type",       "Date",           "Ringhold-Node",
                                      "Ringhold-Partition", "Ringhold-Owner", "Ringhold-Ring-Epoch",
                                      "Request-Id"};
    for (size_t i = 0; i < sizeof OWN / sizeof OWN[0]; i++) {
        if (proxy_header_is(name, OWN[i])) {
            return true;
        }
    }
    return false;
}

static void relay(struct call *call)
{
    const struct proxy_answer *answer = &call->forwarding->forward.answer;
    struct exchange *x = &call->x;
    struct text type = arena_copy(&call->arena, proxy_answer_field(answer, "Content-Type"));
    x->response = (struct response){.status = answer->status,
                                    .content_type = type.at,
                                    .body = answer->body.len > 0 ? answer->body : TEXT_ABSENT};
    for (size_t i = 0; i < answer->header_count && x->response.header_count < RESPONSE_HEADERS_MAX;
         i++) {
        struct text name = answer->headers[i].name;
        if (!is_own_field(name)) {
            exchange_header(x, arena_copy(&call->arena, name).at,
                            arena_copy(&call->arena, answer->headers[i].value));
        }
    }
    call->state = CALL_ANSWERED;
    if (call->arena.exhausted) {
        call_end_with(call, STATUS_OUT_OF_MEMORY);
    }
}

/* ---- waiting ------------------------------------------------------------------------------------------------------ */

static struct topic topic_of(struct forwarding *forwarding)
{
    return (struct topic){.kind = EVENT_RING, .name = text_of(forwarding->topic)};
}

/* On the proxy's thread. */
static void on_answer(struct forward *forward)
{
    struct forwarding *forwarding =
        (struct forwarding *)((char *)forward - offsetof(struct forwarding, forward));
    struct call *call = forwarding->call;
    struct parked *parked = call->engine->parked;
    char topic[TOPIC_BYTES]; /* the call may be gone as soon as the loop knows */
    memcpy(topic, forwarding->topic, sizeof topic);
    if (atomic_exchange(&forwarding->meeting, MEET_PROXY) == MEET_LOOP) {
        call->back(call);
        return;
    }
    struct event event = {.kind = EVENT_RING, .name = text_of(topic)};
    parked_notify(parked, &event, 1);
}

/* Waits for the answer without anything else that could wake the call. False when it is there already. */
static bool wait_for_answer(struct call *call)
{
    call->state = CALL_COMMITTING;
    if (atomic_exchange(&call->forwarding->meeting, MEET_LOOP) == MEET_PROXY) {
        call->state = CALL_STEPPING;
        return false;
    }
    return true;
}

/* Parks the call, whose ticket was taken. Unless it is PARKED, it must go on at once. */
static enum parking park_until(struct call *call, int64_t wait_ms)
{
    struct topic topic = topic_of(call->forwarding);
    return call_park(call, &topic, call->ticket, wait_ms);
}

/*
 * Parks a call that is SENT, until its answer is there or its client has gone; for only while it is parked is that
 * noticed. So one that was woken by what is none of its concern, as everybody is when leading goes elsewhere, is parked
 * again. False: it is to go on, the answer is there, or there is no use or no room for parking; without room it is ended,
 * as it would be here: nobody would notice its hang-up.
 */
static bool park_sent(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    struct topic topic = topic_of(forwarding);
    enum parking parking = PARK_LOOK_AGAIN;
    while (parking == PARK_LOOK_AGAIN) {
        call->ticket = parked_ticket(call->engine->parked, &topic);
        if (atomic_load(&forwarding->meeting) != MEET_NOBODY || forwarding->cancelled ||
            call_hung_up(call)) {
            return false;
        }
        /* The proxy ends it in time; the deadline is there for when it does not. */
        int64_t left_us = forwarding->forward.deadline_us - clock_monotonic_us();
        parking = park_until(call, (left_us < 0 ? 0 : left_us / 1000) + ANSWER_MS_MAX);
    }
    forwarding->crowded = parking == PARK_NO_ROOM && !call->engine->draining;
    return parking == PARKED;
}

/* The call begins anew, to be answered here; a list goes on with the partition whose turn it is. */
static void begin_here(struct call *call)
{
    call->forwarding = NULL;
    call->state = CALL_STEPPING;
    if (call->gather != NULL) {
        gathering_go_on(call);
    } else {
        call_begin(call);
    }
}

static enum status why_no_longer(const struct call *call, enum parking parking)
{
    if (call->engine->draining) {
        return STATUS_DRAINING;
    }
    return parking == PARK_NO_ROOM ? STATUS_TOO_MANY_PARKED : STATUS_NO_LEADER;
}

/* Parks for a moment; again where everybody was woken meanwhile because leading goes elsewhere: that is what is waited for,
   and where it goes may not be known here yet. */
static void pause_call(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    struct topic topic = topic_of(forwarding);
    enum parking parking = PARK_LOOK_AGAIN;
    bool over = false;
    forwarding->sent = false;
    while (parking == PARK_LOOK_AGAIN && !over) {
        call->ticket = parked_ticket(call->engine->parked, &topic);
        over = clock_monotonic_us() > forwarding->give_up_us || call_hung_up(call) ||
               call->engine->draining;
        parking = over ? PARK_LOOK_AGAIN : park_until(call, PAUSE_MS);
    }
    if (parking != PARKED) {
        call_end_with(call, why_no_longer(call, parking));
    }
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

/* What Ringhold itself reads of a request; the rest need not travel. The values are copied: the client may be gone, and its
   connection's memory with it, before they are sent. */
static size_t gather_fields(struct call *call, struct proxy_header ret[FIELDS_MAX])
{
    static const char *const READ[] = {"Content-Type",    "If-Match",  "If-None-Match",
                                       "Idempotency-Key", "Prefer",    "Receipt",
                                       "traceparent",     "tracestate"};
    size_t count = 0;
    for (size_t i = 0; i < sizeof READ / sizeof READ[0]; i++) {
        struct text value = call->x.request.header(call->x.request.source, READ[i]);
        if (text_given(value)) {
            ret[count++] = (struct proxy_header){text_of(READ[i]), arena_copy(&call->arena, value)};
        }
    }
    ret[count++] = (struct proxy_header){TEXT("Request-Id"),
                                         arena_copy(&call->arena, answer_request_id(call))};
    ret[count++] = (struct proxy_header){TEXT("Ringhold-Forwarded"),
                                         cluster_forward_token(call->engine->cluster)};
    if (text_given(call->x.routing_key)) {
        ret[count++] = (struct proxy_header){TEXT("Ringhold-Routing-Key"), call->x.routing_key};
    }
    ret[count++] =
        (struct proxy_header){TEXT("Ringhold-Partition"),
                              arena_format(&call->arena, "%lld", (long long)call->x.partition)};
    return count;
}

static const char *method_name(enum method method)
{
    static const char *const NAMES[] = {"GET", "PUT", "POST", "PATCH", "DELETE"};
    return NAMES[method];
}

/*
 * A request that waits for something is parked until its answer comes, so that its client's hang-up is noticed and told to
 * the owner. Any other is answered soon: like a commit it stays with its loop, which saves seven calls of the system.
 */
static void send_it(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    const struct exchange *x = &call->x;
    int64_t answer_ms = x->wait_ms + (is_stale(call) ? STALE_ANSWER_MS : ANSWER_MS_MAX);
    forwarding->forward = (struct forward){.base = forwarding->owner.url,
                                           .method = method_name(x->request.method),
                                           .target = x->request.target,
                                           .headers = forwarding->fields,
                                           .header_count = gather_fields(call, forwarding->fields),
                                           .body = x->request.body,
                                           .deadline_us = clock_monotonic_us() + answer_ms * 1000,
                                           .partition = x->partition,
                                           .arena = &call->arena,
                                           .done = on_answer};
    if (call->arena.exhausted) {
        call_end_with(call, STATUS_OUT_OF_MEMORY);
        return;
    }
    forwarding->sent = true;
    bool stays = x->wait_ms == 0;
    atomic_store(&forwarding->meeting, stays ? MEET_LOOP : MEET_NOBODY);
    if (stays) {
        call->state = CALL_COMMITTING;
        proxy_submit(cluster_proxy(call->engine->cluster), &forwarding->forward);
        return;
    }
    proxy_submit(cluster_proxy(call->engine->cluster), &forwarding->forward);
    if (!park_sent(call)) {
        forwarding_go_on(call);
    }
}

/* ---- going on ----------------------------------------------------------------------------------------------------- */

/* Who was taken for the owner is not; perhaps this one is. Who leads the table's group is not learnt so. */
static void take_hint(struct call *call, struct text name)
{
    if (asked_owner(call) && !call->x.route->of_table) {
        cluster_hint(call->engine->cluster, call->x.partition, name);
    }
}

static void look_at_outcome(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    const struct proxy_answer *answer = &forwarding->forward.answer;
    switch (forwarding->forward.outcome) {
    case FORWARD_ANSWERED:
        if (answer->status == status_info(STATUS_NOT_OWNER)->http &&
            text_given(proxy_answer_field(answer, "Ringhold-Routing-Key"))) {
            call->forwarding = NULL;
            call_follow(call, proxy_answer_field(answer, "Ringhold-Routing-Key"));
        } else if (answer->status == status_info(STATUS_NOT_OWNER)->http) {
            take_hint(call, proxy_answer_field(answer, "Ringhold-Owner"));
            again(call);
        } else if (call->gather != NULL && answer->status == 200) {
            gathering_take(call, answer->body,
                           reading_age_of(proxy_answer_field(answer, AGE_HEADER)));
        } else {
            relay(call);
        }
        return;
    case FORWARD_NOT_SENT:
        take_hint(call, TEXT_ABSENT);
        again(call);
        return;
    case FORWARD_UNKNOWN:
        if (call->x.request.method == METHOD_GET) {
            again(call);
        } else {
            call_end_with(call, STATUS_OUTCOME_UNKNOWN);
        }
        return;
    case FORWARD_CANCELLED:
        call_end_with(call, forwarding->crowded ? STATUS_TOO_MANY_PARKED : STATUS_DRAINING);
        return;
    }
}

/* Whom to ask now. False: nobody, for a while. */
static bool choose(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    struct cluster *cluster = call->engine->cluster;
    if (forwarding->cancelled) {
        return false;
    }
    if (is_stale(call)) {
        return cluster_holder_of(cluster, call->x.partition, forwarding->asked++,
                                 &forwarding->owner);
    }
    return forwarding->tries++ < TRIES_MAX && call_owner(call, &forwarding->owner) &&
           !forwarding->owner.self;
}

/* A list is gathered here, and who asks at the owner for what has moved would be sent back to where it was. */
static bool may_redirect(const struct call *call)
{
    return call->gather == NULL && !text_given(call->moved_to) && redirect_preferred(&call->x);
}

/* Asks the next one, or sends the client there. */
static void again(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    if (call->gone) { /* nothing has been carried out, and a call without a connection cannot park */
        call_end_with(call, STATUS_NO_LEADER);
        return;
    }
    if (call_serves(call)) { /* an election has made us the owner meanwhile */
        begin_here(call);
        return;
    }
    bool chosen = choose(call);
    if (chosen && may_redirect(call)) {
        redirect_respond(&call->x, text_of(forwarding->owner.url));
        call->state = CALL_ANSWERED;
    } else if (chosen) {
        send_it(call);
    } else if (reading_last_resort(call)) {
        begin_here(call);
    } else {
        forwarding->tries = 0; /* whoever is known after a pause is asked anew */
        forwarding->asked = 0;
        pause_call(call);
    }
}

void forwarding_go_on(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    if (!forwarding->sent) {
        again(call);
        return;
    }
    if (park_sent(call)) {
        return;
    }
    /* Nobody to tell the answer to, or nobody who waits for long: the owner's side is told so. */
    bool draining = call->engine->draining && call->x.wait_ms > 0;
    if (!forwarding->cancelled && (draining || forwarding->crowded || call_hung_up(call))) {
        forwarding->cancelled = true;
        proxy_cancel(cluster_proxy(call->engine->cluster), &forwarding->forward);
    }
    if (wait_for_answer(call)) {
        return;
    }
    if (call->gone) { /* and with it the request's fields: sent once more, it would lack its If-Match */
        call_end_with(call, STATUS_NO_LEADER);
    } else {
        look_at_outcome(call);
    }
}

void forwarding_begin(struct call *call)
{
    struct forwarding *forwarding = arena_zalloc(&call->arena, 1, sizeof *forwarding);
    if (forwarding == NULL) {
        call_end_with(call, STATUS_OUT_OF_MEMORY);
        return;
    }
    call->forwarding = forwarding;
    forwarding->call = call;
    forwarding->give_up_us = clock_monotonic_us() + PATIENCE_MS * 1000;
    snprintf(forwarding->topic, sizeof forwarding->topic, "%p", (void *)call);
    again(call);
}
