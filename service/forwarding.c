#include "service/forwarding.h"

#include "handlers/problem.h"
#include "service/answer.h"
#include "service/cluster/cluster.h"
#include "service/cluster/proxy.h"
#include "service/gathering.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

enum {
    TRIES_MAX = 3,         /* that reached somebody */
    PAUSE_MS = 50,         /* until the owner is looked for again */
    PATIENCE_MS = 5000,    /* how long an owner is looked for */
    ANSWER_MS_MAX = 10000, /* beside what the client itself waits */
    TOPIC_BYTES = 24,
    FIELDS_MAX = 16
};

/* Who comes first to where the proxy's answer and the loop meet. */
enum meeting { MEET_NOBODY, MEET_PROXY, MEET_LOOP };

struct forwarding {
    struct forward forward;
    struct call *call;
    bool sent; /* else PAUSED */
    bool cancelled;
    int tries;
    int64_t give_up_us; /* when no owner is looked for any more */
    atomic_int meeting;
    struct cluster_owner owner;
    char topic[TOPIC_BYTES]; /* what the proxy's answer wakes */
    struct proxy_header fields[FIELDS_MAX];
};

static void again(struct call *call);

/* ---- ending ------------------------------------------------------------------------------------------------------- */

/* The answer's header of that name, absent where it has none. */
static struct text answered_field(const struct proxy_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        if (proxy_header_is(answer->headers[i].name, name)) {
            return answer->headers[i].value;
        }
    }
    return TEXT_ABSENT;
}

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
    struct text type = arena_copy(&call->arena, answered_field(answer, "Content-Type"));
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
    int64_t deadline_ms = clock_now(call->engine->clock).lease_now_ms + wait_ms;
    call->state = CALL_PARKED;
    enum parking parking = parked_add(call->engine->parked, &call->parked, &topic, call->ticket,
                                      deadline_ms, call->socket);
    if (parking != PARKED) {
        call->state = CALL_STEPPING;
    }
    return parking;
}

/*
 * Parks a call that is SENT, until its answer is there or its client has gone; for only while it is parked is that
 * noticed. So one that was woken by what is none of its concern, as everybody is when leading goes elsewhere, is parked
 * again. False: it is to go on, the answer is there, or there is no use or no room for parking.
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
    return parking == PARKED;
}

static void pause_call(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    struct topic topic = topic_of(forwarding);
    forwarding->sent = false;
    call->ticket = parked_ticket(call->engine->parked, &topic);
    bool over = clock_monotonic_us() > forwarding->give_up_us || call_hung_up(call) ||
                call->engine->draining;
    if (over || park_until(call, PAUSE_MS) != PARKED) {
        call_end_with(call, call->engine->draining ? STATUS_DRAINING : STATUS_NO_LEADER);
    }
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

/* What Ringhold itself reads of a request; the rest need not travel. */
static size_t gather_fields(struct call *call, struct proxy_header ret[FIELDS_MAX])
{
    static const char *const READ[] = {"Content-Type",    "If-Match",  "If-None-Match",
                                       "Idempotency-Key", "Prefer",    "Receipt",
                                       "traceparent",     "tracestate"};
    size_t count = 0;
    for (size_t i = 0; i < sizeof READ / sizeof READ[0]; i++) {
        struct text value = call->x.request.header(call->x.request.source, READ[i]);
        if (text_given(value)) {
            ret[count++] = (struct proxy_header){text_of(READ[i]), value};
        }
    }
    ret[count++] = (struct proxy_header){TEXT("Request-Id"), answer_request_id(call)};
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

static void send_it(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    const struct exchange *x = &call->x;
    int64_t answer_ms = x->wait_ms + ANSWER_MS_MAX;
    forwarding->forward = (struct forward){.base = forwarding->owner.url,
                                           .method = method_name(x->request.method),
                                           .target = x->request.target,
                                           .headers = forwarding->fields,
                                           .header_count = gather_fields(call, forwarding->fields),
                                           .body = x->request.body,
                                           .deadline_us = clock_monotonic_us() + answer_ms * 1000,
                                           .arena = &call->arena,
                                           .done = on_answer};
    forwarding->sent = true;
    atomic_store(&forwarding->meeting, MEET_NOBODY);
    proxy_submit(cluster_proxy(call->engine->cluster), &forwarding->forward);
    if (!park_sent(call)) {
        forwarding_go_on(call);
    }
}

/* ---- going on ----------------------------------------------------------------------------------------------------- */

static void look_at_outcome(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    const struct proxy_answer *answer = &forwarding->forward.answer;
    switch (forwarding->forward.outcome) {
    case FORWARD_ANSWERED:
        if (answer->status == status_info(STATUS_NOT_OWNER)->http &&
            text_given(answered_field(answer, "Ringhold-Routing-Key"))) {
            call->forwarding = NULL;
            call_follow(call, answered_field(answer, "Ringhold-Routing-Key"));
        } else if (answer->status == status_info(STATUS_NOT_OWNER)->http) {
            cluster_hint(call->engine->cluster, call->x.partition,
                         answered_field(answer, "Ringhold-Owner"));
            again(call);
        } else if (call->gather != NULL) {
            gathering_take(call, answer->status, answer->body);
        } else {
            relay(call);
        }
        return;
    case FORWARD_NOT_SENT:
        cluster_hint(call->engine->cluster, call->x.partition, TEXT_ABSENT);
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
        call_end_with(call, STATUS_DRAINING);
        return;
    }
}

static void again(struct call *call)
{
    struct forwarding *forwarding = call->forwarding;
    if (call->gone) { /* nothing has been carried out, and a call without a connection cannot park */
        call_end_with(call, STATUS_NO_LEADER);
        return;
    }
    if (partition_serves(call->partition)) { /* an election has made us the owner meanwhile */
        call->forwarding = NULL;
        call->state = CALL_STEPPING;
        call_begin(call);
        return;
    }
    bool known = cluster_owner_of(call->engine->cluster, call->x.partition, &forwarding->owner) &&
                 !forwarding->owner.self;
    if (known && forwarding->tries < TRIES_MAX && !forwarding->cancelled) {
        forwarding->tries++;
        send_it(call);
        return;
    }
    forwarding->tries = 0; /* whoever is known after a pause is asked anew */
    pause_call(call);
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
    if (!forwarding->cancelled && (draining || call_hung_up(call))) {
        forwarding->cancelled = true;
        proxy_cancel(cluster_proxy(call->engine->cluster), &forwarding->forward);
    }
    if (!wait_for_answer(call)) {
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
