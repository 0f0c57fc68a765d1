#include "service/requests.h"

#include "service/answer.h"
#include "service/guard.h"
#include "service/head.h"

#include <assert.h>

enum { SPARE_CALLS_MAX = 256 };

/* ---- the head ----------------------------------------------------------------------------------------------------- */

static enum method method_of(const char *name)
{
    static const char *const NAMES[] = {"GET", "PUT", "POST", "PATCH", "DELETE"};
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++) {
        if (strcmp(name, NAMES[i]) == 0) {
            return (enum method)i;
        }
    }
    return strcmp(name, "HEAD") == 0 ? METHOD_GET : METHOD_OTHER;
}

static struct call *take_spare(struct requests *requests)
{
    struct call *spare = requests->spare;
    if (spare != NULL) {
        requests->spare = spare->next;
        requests->spares--;
    }
    return spare;
}

/* libmicrohttpd calls this with the target as it came, before anything is decoded. */
void *requests_on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct requests *requests = cls;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct call *call =
        call_make(take_spare(requests), requests->engine, requests->readers, info->connect_fd);
    if (call == NULL) {
        return NULL;
    }
    call->requests = requests;
    call->connection = connection;
    call->back = requests->back;
    call->x.request.target = arena_copy(&call->arena, text_of(target));
    atomic_fetch_add_explicit(&requests->busy, 1, memory_order_relaxed);
    return call;
}

struct head {
    struct guard_field fields[HEADERS_MAX + 1];
    size_t count;
};

static enum MHD_Result note_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    struct head *head = cls;
    (void)kind;
    head->fields[head->count++] = (struct guard_field){
        {name, name_len}, value == NULL ? TEXT("") : (struct text){value, value_len}};
    return head->count <= HEADERS_MAX ? MHD_YES : MHD_NO;
}

/* libmicrohttpd 1.0 refuses itself what 0.9.75 loses (http.c asks it to). */
static bool lost_something(const struct call *call, const char *method, const char *version,
                           const struct head *head, size_t head_bytes)
{
    return MHD_VERSION < 0x01000000 &&
           !guard_accounts(method, call->x.request.target.len, version, head->fields, head->count,
                           method + head_bytes);
}

/* Beside such a head libmicrohttpd has no room for an answer's, and would close the connection without one. */
static bool leaves_no_room(const struct head *head, size_t head_bytes)
{
    return head_bytes + head->count * FIELD_NOTE_BYTES > CONNECTION_BYTES - ANSWER_HEAD_BYTES;
}

static struct guard_verdict refuse(enum status status, const char *why)
{
    return (struct guard_verdict){.status = status, .why = why};
}

static struct guard_verdict judge(const struct call *call, const char *method, const char *version)
{
    struct head head;
    head.count = 0;
    MHD_get_connection_values_n(call->connection, MHD_HEADER_KIND, note_field, &head);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t head_bytes = info == NULL ? CONNECTION_BYTES : info->header_size;
    if (leaves_no_room(&head, head_bytes)) {
        return refuse(STATUS_HEADERS_TOO_LARGE,
                      "The request line and the fields are too large together.");
    }
    struct guard_verdict verdict =
        guard_judge(call->x.request.target, version, head.fields, head.count);
    bool lost =
        verdict.status == STATUS_OK && lost_something(call, method, version, &head, head_bytes);
    return lost ? refuse(STATUS_BAD_REQUEST, "The head has a folded line, a NUL byte, or more than "
                                             "one space in a row in its request line.")
                : verdict;
}

/* The head is there. What is refused is answered at once, body unread, and the connection closed. */
static enum MHD_Result on_head(struct call *call, const char *method, const char *version)
{
    call->x.request.method = method_of(method);
    call->x.request.header = head_field;
    call->x.request.source = call;
    struct guard_verdict verdict = judge(call, method, version);
    call->guarded = true;
    bool large = verdict.status == STATUS_BODY_TOO_LARGE;
    if (verdict.status == STATUS_OK || large) {
        call_note_head(call);
    }
    if (verdict.status == STATUS_OK ||
        (large && verdict.content_length <= (int64_t)call_body_bytes_max(call))) {
        return MHD_YES;
    }
    call->closes = true;
    call_refuse(call, verdict.status, verdict.why);
    if (verdict.status == STATUS_HEADERS_TOO_LARGE) {
        answer_send_past(call);
        return MHD_NO;
    }
    return answer_send(call);
}

/* ---- the body, and the steps -------------------------------------------------------------------------------------- */

/* Says what the connection does next, after a step of its call. */
static enum MHD_Result follow(struct call *call)
{
    switch (call->state) {
    case CALL_COMMITTING:
        call->requests->committing++;
        return MHD_YES; /* libmicrohttpd calls again at each MHD_run, until the call is back */
    case CALL_PARKED:
        MHD_suspend_connection(call->connection);
        return MHD_YES;
    case CALL_ANSWERED:
        return answer_send(call);
    case CALL_READING:
    case CALL_STEPPING:
        break;
    }
    assert(false && "a call stops only where its state machine does");
    return MHD_NO;
}

static enum MHD_Result on_body(struct call *call, const char *bytes, size_t *len)
{
    call_body(call, bytes, *len);
    call->body_seen += *len;
    /* What comes next overwrites it in the connection's buffer, maybe not at once: the byte behind a chunk's size that has
       not come yet would be one of these (mhd_pages.c). */
    memset((char *)(uintptr_t)bytes, 0, *len);
    *len = 0;
    /* A little too much is read to its end, so that the client sees its 413; an endless body is cut off. */
    return call->body_seen <= 8 * (size_t)BODY_BYTES_MAX ? MHD_YES : MHD_NO;
}

enum MHD_Result requests_on_data(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *body,
                                 size_t *body_len, void **context)
{
    struct call *call = *context;
    (void)cls;
    (void)connection;
    (void)url;
    if (call == NULL) {
        return MHD_NO; /* there was no memory for a call */
    }
    if (!call->guarded) {
        return on_head(call, method, version);
    }
    if (*body_len > 0) {
        return on_body(call, body, body_len);
    }
    if (call->state == CALL_READING) {
        call_start(call);
        return follow(call);
    }
    if (!call->is_back) {
        return MHD_YES;
    }
    call->is_back = false;
    call_go_on(call);
    return follow(call);
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

static void free_call(struct call *call)
{
    struct requests *requests = call->requests;
    atomic_fetch_sub_explicit(&requests->busy, 1, memory_order_relaxed);
    call_end(call);
    if (requests->spares < SPARE_CALLS_MAX) {
        call->next = requests->spare;
        requests->spare = call;
        requests->spares++;
    } else {
        call_free(call);
    }
}

static void lose_client(struct call *call)
{
    call->gone = true;
    call->connection = NULL;
    call->x.request.header = head_field_of_nobody;
    call->x.request.source = NULL;
}

/* Nobody waits for this call any more: it goes on until it ends, so that nothing it holds stays behind. */
static void go_on_without_client(struct call *call)
{
    call->is_back = false;
    call_go_on(call);
    if (call->state == CALL_COMMITTING) {
        call->requests->committing++;
    } else {
        free_call(call);
    }
}

/* libmicrohttpd is done with the request: it was answered, or its connection is lost. The latter it may find out at any
   time, also between our taking the call back and its calling us for it. */
void requests_on_end(void *cls, struct MHD_Connection *connection, void **context,
                     enum MHD_RequestTerminationCode code)
{
    struct call *call = *context;
    (void)cls;
    (void)connection;
    (void)code;
    if (call == NULL) {
        return;
    }
    *context = NULL;
    if (call->is_back) {
        lose_client(call);
        go_on_without_client(call);
        return;
    }
    if (call->state == CALL_COMMITTING) {
        lose_client(call); /* the committer has it: freed when it is back */
        return;
    }
    assert(call->state != CALL_PARKED); /* a suspended connection is not looked at */
    free_call(call);
}

void requests_take_back(struct call *call)
{
    bool was_parked = call->state == CALL_PARKED;
    call->requests->committing -= !was_parked;
    if (call->gone && !was_parked) {
        go_on_without_client(call);
        return;
    }
    call->is_back = true;
    if (was_parked) {
        MHD_resume_connection(call->connection);
    }
}

void requests_close(struct requests *requests)
{
    while (requests->spare != NULL) {
        call_free(take_spare(requests));
    }
}
