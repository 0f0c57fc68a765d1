/*
 * Messages over HTTP (API.md §4): sending, receiving, and looking at them. What a consumer says of those it has received
 * is in settle.c.
 *
 * A receive that finds nothing parks for EVENT_READY, and is carried out again when it is woken. What is parked holds
 * nothing: a client that hangs up has taken nothing.
 */
#include "handlers/messages.h"

#include "handlers/json_in.h"
#include "handlers/payload.h"
#include "handlers/process.h"
#include "handlers/receipt.h"
#include "handlers/route.h"
#include "handlers/text_parse.h"

enum { GROUP_BYTES_MAX = 255, DEDUP_ID_BYTES_MAX = 255, ATTRIBUTE_NAME_BYTES_MAX = 255 };

const char *const message_states[] = {"ready", "delayed", "leased", "dead", NULL};

static struct text queue_of(const struct exchange *x)
{
    return x->params[0];
}

/* ---- sending ------------------------------------------------------------------------------------------------------ */

static bool attribute_valid(const struct json *member)
{
    size_t len = json_key(member).len;
    return len >= 1 && len <= ATTRIBUTE_NAME_BYTES_MAX;
}

static struct text read_attributes(struct fields *fields)
{
    struct text compact = field_object(fields, "attributes", BODY_BYTES_MAX, false);
    const struct json *object = field_nested(fields, "attributes");
    if (object == NULL || json_count(object) == 0) {
        return TEXT_ABSENT;
    }
    if (json_count(object) > MESSAGE_ATTRIBUTES_MAX) {
        field_refuse(fields, STATUS_INVALID_FIELD, "attributes", "must have at most %d members.",
                     MESSAGE_ATTRIBUTES_MAX);
    }
    for (const struct json *m = json_first(object); m != NULL; m = json_next(m)) {
        if (!attribute_valid(m)) {
            field_refuse(fields, STATUS_INVALID_FIELD, "attributes",
                         "must have names of 1 to %d bytes.", ATTRIBUTE_NAME_BYTES_MAX);
        }
    }
    return compact;
}

static void read_due(struct fields *fields, struct message_new *message)
{
    message->delay_ms = field_int(fields, "delay_ms", 0, MESSAGE_DELAY_MS_MAX, ABSENT);
    message->deliver_at_ms = field_instant(fields, "deliver_at");
    if (message->deliver_at_ms == ABSENT) {
        return;
    }
    if (message->delay_ms != ABSENT) {
        field_refuse(fields, STATUS_INVALID_FIELD, "deliver_at", "cannot go with delay_ms.");
    }
    if (message->deliver_at_ms > fields->x->now.now_ms + MESSAGE_DELAY_MS_MAX) {
        field_refuse(fields, STATUS_INVALID_FIELD, "deliver_at", "must be at most %d days ahead.",
                     (int)(MESSAGE_DELAY_MS_MAX / DAY_MS));
    }
}

static void read_message(struct fields *parent, size_t index, const struct json *value,
                         struct message_new *message)
{
    struct fields fields = fields_of_item(parent, "messages", (long)index, value);
    struct arena *arena = parent->x->arena;
    struct text body = field_any(&fields, "body", BODY_BYTES_MAX, true);
    message->attributes = read_attributes(&fields);
    message->priority = field_int(&fields, "priority", 0, MESSAGE_PRIORITY_MAX, 0);
    message->group = field_text(&fields, "group", 1, GROUP_BYTES_MAX, false);
    message->dedup_id = field_text(&fields, "dedup_id", 1, DEDUP_ID_BYTES_MAX, false);
    message->ttl_ms = field_int(&fields, "ttl_ms", 1, RETENTION_MS_MAX, ABSENT);
    read_due(&fields, message);
    fields_absorb(parent, fields_end(&fields));
    if (parent->status == STATUS_OK) {
        message->body = payload_pack(arena, body, &message->body_bytes);
    }
}

static enum status parse_send(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct message_send *send = &x->command.message_send;
    const struct json *list = field_list(&fields, "messages", 1, MESSAGES_PER_REQUEST_MAX, true);
    const struct json *value = list == NULL ? NULL : json_first(list);
    size_t count = list == NULL ? 0 : json_count(list);
    struct message_new *messages = arena_zalloc(x->arena, count, sizeof *messages);
    for (size_t i = 0; value != NULL && messages != NULL; i++, value = json_next(value)) {
        read_message(&fields, i, value, &messages[i]);
    }
    *send = (struct message_send){.queue = queue_of(x),
                                  .messages = {messages, count},
                                  .atomic = field_flag(&fields, "atomic", true)};
    x->command.kind = COMMAND_MESSAGE_SEND;
    return fields_end(&fields);
}

static enum next after_send(struct exchange *x)
{
    if (x->result.status == STATUS_RATE_LIMITED && x->result.retry_after_ms == 0) {
        exchange_refuse(x, STATUS_RATE_LIMITED, "messages",
                        "The request has more messages than the queue's rate.burst lets through at "
                        "once: send fewer in one request.");
    }
    return NEXT_ANSWER;
}

static void write_id(struct json_out *out, int64_t message)
{
    char digits[DECIMAL_BYTES];
    out_member_text(out, "id", text_decimal(message, digits));
}

static void write_sent(struct json_out *out, const struct sent_message *sent)
{
    out_open(out, '{');
    if (sent->status == STATUS_CREATED) {
        write_id(out, sent->message);
        out_member_bool(out, "deduplicated", sent->deduplicated);
    } else {
        const struct status_info *info = status_info((enum status)sent->status);
        out_member_text(out, "code", text_of(info->code));
        out_member_text(out, "detail", text_of(info->advice));
    }
    out_close(out, '}');
}

static void render_sent(struct exchange *x)
{
    const struct sent_messages *sent = &x->result.sent;
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_key(&out, "messages");
    out_open(&out, '[');
    for (size_t i = 0; i < sent->count; i++) {
        write_sent(&out, &sent->at[i]);
    }
    out_close(&out, ']');
    out_close(&out, '}');
    exchange_respond(x, 201, out_end(&out));
}

/* ---- showing a message -------------------------------------------------------------------------------------------- */

/* False when the stored body cannot be read. */
static bool write_content(struct exchange *x, struct json_out *out,
                          const struct message_view *message)
{
    struct text body = payload_unpack(x->arena, message->body, message->body_bytes);
    out_member_int(out, "fence", message->fence);
    out_member_int(out, "attempt", message->attempt);
    out_member_int(out, "failures", message->failures);
    out_member_raw(out, "body", text_given(body) ? body : TEXT("null"));
    out_member_raw(out, "attributes",
                   text_given(message->attributes) ? message->attributes : TEXT("{}"));
    if (text_given(message->group)) {
        out_member_text(out, "group", message->group);
    } else {
        out_member_raw(out, "group", TEXT("null"));
    }
    out_member_int(out, "priority", message->priority);
    out_member_instant(out, "enqueued_at", message->enqueued_at_ms);
    return text_given(body);
}

static void write_lease(struct exchange *x, struct json_out *out,
                        const struct message_view *message)
{
    int64_t left_ms = message->lease_expires_ms - x->result.stamp.lease_now_ms;
    out_member_int(out, "lease_expires_in_ms", left_ms > 0 ? left_ms : 0);
}

static bool write_received(struct exchange *x, struct json_out *out,
                           const struct message_view *message)
{
    struct receipt receipt = {x->partition, message->message, message->fence};
    out_open(out, '{');
    write_id(out, message->message);
    out_member_text(out, "receipt",
                    receipt_make(x->arena, x->process->secret, queue_of(x), &receipt));
    bool whole = write_content(x, out, message);
    write_lease(x, out, message);
    out_close(out, '}');
    return whole;
}

static bool write_message(struct exchange *x, struct json_out *out,
                          const struct message_view *message)
{
    out_open(out, '{');
    write_id(out, message->message);
    out_member_text(out, "state", text_of(message_states[message->state - MESSAGE_READY]));
    bool whole = write_content(x, out, message);
    out_member_instant(out, "expires_at", message->expires_at_ms);
    if (message->state == MESSAGE_DELAYED) {
        out_member_instant(out, "deliver_at", message->due_at_ms);
    }
    if (message->state == MESSAGE_LEASED) {
        write_lease(x, out, message);
    }
    out_member_text_if(out, "consumer", message->consumer);
    out_member_text_if(out, "reason", message->reason);
    out_close(out, '}');
    return whole;
}

/* Messages one after another. A body that cannot be read is an error of ours, never an answer without it. */
static void respond_messages(struct exchange *x, const char *key, const struct message_views *views,
                             struct text next,
                             bool (*write)(struct exchange *, struct json_out *,
                                           const struct message_view *))
{
    struct json_out out = out_begin(x->arena);
    bool whole = true;
    out_open(&out, '{');
    out_key(&out, key);
    out_open(&out, '[');
    for (size_t i = 0; i < views->count; i++) {
        whole = write(x, &out, &views->at[i]) && whole;
    }
    out_close(&out, ']');
    out_member_text_if(&out, "next_cursor", exchange_cursor(x, next));
    out_close(&out, '}');
    if (whole) {
        exchange_respond(x, 200, out_end(&out));
    } else {
        exchange_problem(x, STATUS_INTERNAL);
    }
}

/* ---- receiving ---------------------------------------------------------------------------------------------------- */

static enum status parse_receive(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    x->command.kind = COMMAND_MESSAGE_RECEIVE;
    x->command.message_receive = (struct message_receive){
        .queue = queue_of(x),
        .max = field_int(&fields, "max", 1, MESSAGES_PER_REQUEST_MAX, 1),
        .lease_ms = field_int(&fields, "lease_ms", 1, MESSAGE_LEASE_MS_MAX, ABSENT),
        .consumer = field_text(&fields, "consumer", 1, CONSUMER_BYTES_MAX, false)};
    x->wait_ms = field_int(&fields, "wait_ms", 0, WAIT_MS_MAX, 0);
    exchange_prefer_wait(x);
    x->topic = (struct topic){.kind = EVENT_READY, .name = queue_of(x)};
    return fields_end(&fields);
}

static enum next after_receive(struct exchange *x)
{
    bool empty = x->result.status == STATUS_OK && x->result.received.count == 0;
    return empty && x->now.lease_now_ms < x->waits_until ? NEXT_PARK : NEXT_ANSWER;
}

/* Without an event there is nothing new to find: the empty list of the last look is the answer. */
static enum next wake_receive(struct exchange *x, enum wake why)
{
    (void)x;
    return why == WAKE_EVENT ? NEXT_COMMIT : NEXT_ANSWER;
}

static void render_received(struct exchange *x)
{
    respond_messages(x, "messages", &x->result.received, TEXT_ABSENT, write_received);
}

/* ---- one message -------------------------------------------------------------------------------------------------- */

static enum status parse_get(struct exchange *x)
{
    struct message_key *key = &x->command.message_get;
    x->command.kind = COMMAND_MESSAGE_GET;
    key->queue = queue_of(x);
    return parse_decimal(x->params[1], &key->message) ? STATUS_OK : STATUS_MESSAGE_NOT_FOUND;
}

static void render_message(struct exchange *x)
{
    struct json_out out = out_begin(x->arena);
    if (write_message(x, &out, &x->result.message)) {
        exchange_respond(x, 200, out_end(&out));
    } else {
        exchange_problem(x, STATUS_INTERNAL);
    }
}

static enum status parse_delete(struct exchange *x)
{
    struct message_delete *delete = &x->command.message_delete;
    struct text given = x->request.header(x->request.source, "Receipt");
    struct receipt receipt = {.fence = ABSENT};
    x->command.kind = COMMAND_MESSAGE_DELETE;
    delete->queue = queue_of(x);
    if (!parse_decimal(x->params[1], &delete->message)) {
        return STATUS_MESSAGE_NOT_FOUND;
    }
    if (text_given(given) &&
        (!receipt_read(x->arena, x->process->secret, queue_of(x), given, &receipt) ||
         receipt.message != delete->message)) {
        return exchange_refuse(x, STATUS_INVALID_HEADER, "Receipt",
                               "The Receipt header is not a receipt of this message.");
    }
    delete->fence = receipt.fence;
    return STATUS_OK;
}

static void render_nothing(struct exchange *x)
{
    exchange_respond(x, 204, TEXT_ABSENT);
}

static enum status parse_list(struct exchange *x)
{
    struct message_list *list = &x->command.message_list;
    struct text state = exchange_parameter(x, "state");
    list->queue = queue_of(x);
    list->group = exchange_parameter(x, "group");
    list->state = MESSAGE_ANY;
    for (int64_t i = 0; text_given(state) && message_states[i] != NULL; i++) {
        if (text_equal(state, text_of(message_states[i]))) {
            list->state = i + MESSAGE_READY;
        }
    }
    if (text_given(state) && list->state == MESSAGE_ANY) {
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, "state",
                               "state must be one of: ready, delayed, leased, dead.");
    }
    if (text_given(list->group) && (list->group.len < 1 || list->group.len > GROUP_BYTES_MAX)) {
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, "group", "group must be 1 to %d bytes.",
                               GROUP_BYTES_MAX);
    }
    x->command.kind = COMMAND_MESSAGE_LIST;
    return exchange_page(x, &list->page);
}

static void render_list(struct exchange *x)
{
    respond_messages(x, "items", &x->result.messages.items, x->result.messages.next, write_message);
}

static const struct route ROUTES[] = {
    {.method = METHOD_POST,
     .template = "/v1/queues/{queue}/messages",
     .operation = "sendMessages",
     .parse = parse_send,
     .render = render_sent,
     .after = after_send,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_GET,
     .template = "/v1/queues/{queue}/messages",
     .operation = "listMessages",
     .parse = parse_list,
     .render = render_list,
     .transactional = true},
    {.method = METHOD_POST,
     .template = "/v1/queues/{queue}/receive",
     .operation = "receiveMessages",
     .parse = parse_receive,
     .render = render_received,
     .after = after_receive,
     .wake = wake_receive,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_GET,
     .template = "/v1/queues/{queue}/messages/{id}",
     .operation = "getMessage",
     .parse = parse_get,
     .render = render_message,
     .transactional = true},
    {.method = METHOD_DELETE,
     .template = "/v1/queues/{queue}/messages/{id}",
     .operation = "deleteMessage",
     .parse = parse_delete,
     .render = render_nothing,
     .transactional = true},
};
const struct route_list message_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
