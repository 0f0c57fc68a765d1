#include "service/head.h"

#include <microhttpd.h>

static struct text header_of(const void *source, const char *name)
{
    struct MHD_Connection *connection = (struct MHD_Connection *)(uintptr_t)source;
    return text_of(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name));
}

static struct text header_of_nobody(const void *source, const char *name)
{
    (void)source;
    (void)name;
    return TEXT_ABSENT;
}

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

/* libmicrohttpd 1.0 refuses itself what 0.9.75 loses (start_daemon asks it to). */
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
    return head_bytes + head->count * FIELD_ENTRY_BYTES > CONNECTION_BYTES - ANSWER_HEAD_BYTES;
}

struct guard_verdict head_judge(struct call *call, const char *method, const char *version)
{
    struct head head;
    head.count = 0;
    call->x.request.method = method_of(method);
    call->x.request.header = header_of;
    call->x.request.source = call->connection;
    MHD_get_connection_values_n(call->connection, MHD_HEADER_KIND, note_field, &head);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t head_bytes = info == NULL ? SIZE_MAX / 2 : info->header_size;
    if (leaves_no_room(&head, head_bytes)) {
        return (struct guard_verdict){
            .status = STATUS_HEADERS_TOO_LARGE,
            .why = "The request line and the fields are too large together."};
    }
    struct guard_verdict verdict =
        guard_judge(call->x.request.target, version, head.fields, head.count);
    if (verdict.status == STATUS_OK && lost_something(call, method, version, &head, head_bytes)) {
        verdict = (struct guard_verdict){
            .status = STATUS_BAD_REQUEST,
            .why = "The head has a folded line, a NUL byte, or more than one space in a row in "
                   "its request line."};
    }
    return verdict;
}

void head_forget(struct call *call)
{
    call->x.request.header = header_of_nobody;
    call->x.request.source = NULL;
}
