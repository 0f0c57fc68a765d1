#include "service/answer.h"

#include "handlers/digest.h"
#include "handlers/problem.h"
#include "handlers/text_parse.h"
#include "service/cluster/cluster.h"
#include "service/log.h"
#include "service/metrics.h"

#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_ID_BYTES = 16, REQUEST_ID_BYTES_MAX = 128 };

/* libmicrohttpd's own "from buffer" copies or frees; this body is neither its to copy nor to free. */
static void keep(void *body)
{
    (void)body;
}

static struct text make_request_id(struct arena *arena)
{
    /* 16 random digits for the thread, 8 that count. */
    static _Thread_local char prefix[REQUEST_ID_BYTES + 1];
    static _Thread_local uint32_t counter;
    if (prefix[0] == '\0') {
        struct text random = digest_random(arena, REQUEST_ID_BYTES / 2);
        struct text digits = digest_hex(arena, random);
        memcpy(prefix, text_given(random) ? digits.at : "0000000000000000", sizeof prefix);
    }
    uint32_t counted = __builtin_bswap32(++counter);
    struct text suffix = digest_hex(arena, (struct text){(const char *)&counted, sizeof counted});
    char *id = arena_alloc(arena, REQUEST_ID_BYTES + suffix.len + 1);
    if (id == NULL || !text_given(suffix)) {
        return TEXT("none");
    }
    memcpy(id, prefix, REQUEST_ID_BYTES);
    memcpy(id + REQUEST_ID_BYTES, suffix.at, suffix.len + 1);
    return (struct text){id, REQUEST_ID_BYTES + suffix.len};
}

static struct text header_of(const struct call *call, const char *name)
{
    const struct request *request = &call->x.request;
    return request->header == NULL ? TEXT_ABSENT : request->header(request->source, name);
}

/* The client's, where it is sane, else one of our own. */
struct text answer_request_id(struct call *call)
{
    if (!text_given(call->request_id)) {
        struct text given = header_of(call, "Request-Id");
        bool sane = text_given(given) && given.len > 0 && given.len <= REQUEST_ID_BYTES_MAX;
        call->request_id = sane ? given : make_request_id(&call->arena);
    }
    return call->request_id;
}

/* The client's W3C trace context; what is none goes no further. */
static struct text trace_of(const struct call *call)
{
    struct text given = header_of(call, "traceparent");
    return text_given(given) && traceparent_valid(given) ? given : TEXT_ABSENT;
}

static void log_request(struct call *call, struct text id, struct text trace, int64_t took_us)
{
    const struct exchange *x = &call->x;
    /* A line for each request is more than most want; who traces one has asked for it. */
    enum log_level level = text_given(trace) && traceparent_sampled(trace) ? LOG_INFO : LOG_DEBUG;
    LOG(level, "request", LOG_TEXT_FIELD("request_id", id),
        LOG_STRING("operation", x->route == NULL ? NULL : x->route->operation),
        LOG_INT("status", x->response.status), LOG_INT("took_us", took_us),
        LOG_TEXT_FIELD("traceparent", trace));
}

/* For clients that want to go straight to the owner the next time. */
static void add_owner(struct call *call, struct MHD_Response *response)
{
    struct cluster_owner owner;
    char buffer[DECIMAL_BYTES];
    if (cluster_owner_of(call->engine->cluster, call->x.partition, &owner)) {
        if (call->gather == NULL) { /* a list over all partitions has no one owner */
            MHD_add_response_header(response, "Ringhold-Owner", owner.name);
        }
        MHD_add_response_header(response, "Ringhold-Ring-Epoch",
                                text_decimal(owner.epoch, buffer).at);
    }
    if (call->x.route != NULL && strcmp(call->x.route->operation, "getRing") == 0) {
        MHD_add_response_header(response, "Ringhold-Peer", cluster_peer(call->engine->cluster));
    }
}

/* Whether the target is of the API, and not of what stands beside it. */
static bool is_versioned(struct text target)
{
    return target.len >= 3 && memcmp(target.at, "/v1", 3) == 0 &&
           (target.len == 3 || target.at[3] == '/' || target.at[3] == '?');
}

static void add_headers(struct call *call, struct MHD_Response *response, struct text id,
                        struct text trace)
{
    const struct response *answer = &call->x.response;
    /* Not the path: where the guard refused, that has not been cut off the target yet. */
    struct text target = call->x.request.target;
    for (size_t i = 0; i < answer->header_count; i++) {
        MHD_add_response_header(response, answer->headers[i].name, answer->headers[i].value.at);
    }
    if (answer->content_type != NULL) {
        MHD_add_response_header(response, "Content-Type", answer->content_type);
    }
    if (is_versioned(target)) {
        char buffer[DECIMAL_BYTES];
        MHD_add_response_header(response, "Ringhold-Node", call->engine->process.node.at);
        MHD_add_response_header(response, "Ringhold-Partition",
                                text_decimal(call->x.partition, buffer).at);
        if (call->engine->cluster != NULL) {
            add_owner(call, response);
        }
    }
    MHD_add_response_header(response, "Request-Id", id.at);
    if (text_given(trace)) {
        MHD_add_response_header(response, "traceparent", trace.at);
    }
    if (call->closes || atomic_load_explicit(&call->engine->draining, memory_order_relaxed)) {
        MHD_add_response_header(response, "Connection", "close");
    }
}

enum MHD_Result answer_send(struct call *call)
{
    const struct response *answer = &call->x.response;
    struct text body = text_given(answer->body) ? answer->body : TEXT("");
    struct text id = answer_request_id(call), trace = trace_of(call);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(
        body.len, (void *)(uintptr_t)body.at, keep);
    if (response == NULL) {
        return MHD_NO;
    }
    add_headers(call, response, id, trace);
    int64_t took_us = clock_monotonic_us() - call->begun_us;
    metrics_request(call->x.route, answer->status, took_us);
    log_request(call, id, trace, took_us);
    enum MHD_Result queued =
        MHD_queue_response(call->connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* ---- answers without a call --------------------------------------------------------------------------------------- */

static const char *our_node = ""; /* answer_as sets it before there are loops */

void answer_as(const char *node)
{
    our_node = node;
}

void answer_mark(struct MHD_Response *response, struct arena *arena)
{
    MHD_add_response_header(response, "Ringhold-Node", our_node);
    MHD_add_response_header(response, "Ringhold-Partition", "0");
    MHD_add_response_header(response, "Request-Id", make_request_id(arena).at);
}

/* An answer that libmicrohttpd does not see, and its connection's last. `fields` are more of them. */
static struct text plain_answer(struct arena *arena, int http_status, struct text id,
                                const char *fields, struct text body)
{
    return arena_format(arena,
                        "HTTP/1.1 %d %s\r\n"
                        "Content-Type: application/problem+json\r\nContent-Length: %zu\r\n"
                        "Ringhold-Node: %s\r\nRinghold-Partition: 0\r\nRequest-Id: %s\r\n"
                        "%sConnection: close\r\n\r\n%.*s",
                        http_status, MHD_get_reason_phrase_for((unsigned)http_status), body.len,
                        our_node, id.at, fields, (int)body.len, body.at);
}

static void send_plain(int socket, struct text answer)
{
    if (text_given(answer)) {
        send(socket, answer.at, answer.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
}

void answer_send_past(struct call *call)
{
    const struct response *answer = &call->x.response;
    struct text id = answer_request_id(call), trace = trace_of(call);
    int64_t took_us = clock_monotonic_us() - call->begun_us;
    metrics_request(call->x.route, answer->status, took_us);
    log_request(call, id, trace, took_us);
    send_plain(call->socket, plain_answer(&call->arena, answer->status, id, "", answer->body));
}

void answer_turn_away(int socket)
{
    struct arena arena = ARENA_EMPTY;
    enum status status = STATUS_TOO_MANY_CONNECTIONS;
    send_plain(socket, plain_answer(&arena, status_info(status)->http, make_request_id(&arena),
                                    "Retry-After: 1\r\n", problem_plain(status, &arena)));
    shutdown(socket, SHUT_WR);
    close(socket);
    arena_free(&arena);
}
