#include "service/answer.h"

#include "handlers/digest.h"
#include "handlers/problem.h"
#include "handlers/text_parse.h"
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

/* The client's, where it is sane, else one of our own. */
static struct text request_id(struct call *call)
{
    struct text given = call->x.request.header == NULL
                            ? TEXT_ABSENT
                            : call->x.request.header(call->x.request.source, "Request-Id");
    if (text_given(given) && given.len > 0 && given.len <= REQUEST_ID_BYTES_MAX) {
        return given;
    }
    /* 16 random digits for the thread, 8 that count. */
    static _Thread_local char prefix[REQUEST_ID_BYTES + 1];
    static _Thread_local uint32_t counter;
    if (prefix[0] == '\0') {
        struct text random = digest_random(&call->arena, REQUEST_ID_BYTES / 2);
        struct text digits = digest_hex(&call->arena, random);
        memcpy(prefix, text_given(random) ? digits.at : "0000000000000000", sizeof prefix);
    }
    uint32_t counted = __builtin_bswap32(++counter);
    struct text suffix =
        digest_hex(&call->arena, (struct text){(const char *)&counted, sizeof counted});
    char *id = arena_alloc(&call->arena, REQUEST_ID_BYTES + suffix.len + 1);
    if (id == NULL || !text_given(suffix)) {
        return TEXT("none");
    }
    memcpy(id, prefix, REQUEST_ID_BYTES);
    memcpy(id + REQUEST_ID_BYTES, suffix.at, suffix.len + 1);
    return (struct text){id, REQUEST_ID_BYTES + suffix.len};
}

static void log_request(struct call *call, struct text id, int64_t took_us)
{
    const struct exchange *x = &call->x;
    LOG(LOG_DEBUG, "request", LOG_TEXT_FIELD("request_id", id),
        LOG_STRING("operation", x->route == NULL ? NULL : x->route->operation),
        LOG_INT("status", x->response.status), LOG_INT("took_us", took_us),
        LOG_TEXT_FIELD("traceparent", x->request.header == NULL
                                          ? TEXT_ABSENT
                                          : x->request.header(x->request.source, "traceparent")));
}

static void add_headers(struct call *call, struct MHD_Response *response, struct text id)
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
    if (target.len >= 4 && memcmp(target.at, "/v1/", 4) == 0) {
        MHD_add_response_header(response, "Ringhold-Node", call->engine->process.node.at);
        char buffer[DECIMAL_BYTES];
        MHD_add_response_header(response, "Ringhold-Partition",
                                text_decimal(call->x.partition, buffer).at);
    }
    MHD_add_response_header(response, "Request-Id", id.at);
    if (call->closes || atomic_load_explicit(&call->engine->draining, memory_order_relaxed)) {
        MHD_add_response_header(response, "Connection", "close");
    }
}

enum MHD_Result answer_send(struct call *call)
{
    const struct response *answer = &call->x.response;
    struct text body = text_given(answer->body) ? answer->body : TEXT("");
    struct text id = request_id(call);
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(
        body.len, (void *)(uintptr_t)body.at, keep);
    if (response == NULL) {
        return MHD_NO;
    }
    add_headers(call, response, id);
    int64_t took_us = clock_monotonic_us() - call->begun_us;
    metrics_request(call->x.route, answer->status, took_us);
    log_request(call, id, took_us);
    enum MHD_Result queued =
        MHD_queue_response(call->connection, (unsigned)answer->status, response);
    MHD_destroy_response(response);
    return queued;
}

static struct text plain_answer(enum status status, struct arena *arena)
{
    struct text body = problem_plain(status, arena);
    return arena_format(arena,
                        "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\n"
                        "Content-Length: %zu\r\nRetry-After: 1\r\nConnection: close\r\n\r\n%.*s",
                        status_info(status)->http, "Service Unavailable", body.len, (int)body.len,
                        body.at);
}

void answer_turn_away(int socket)
{
    struct arena arena = ARENA_EMPTY;
    struct text answer = plain_answer(STATUS_TOO_MANY_CONNECTIONS, &arena);
    if (text_given(answer)) {
        send(socket, answer.at, answer.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    shutdown(socket, SHUT_WR);
    close(socket);
    arena_free(&arena);
}
