/*
 * Settling over HTTP (API.md §4): what a consumer says of messages it has received, by their receipts.
 */
#include "handlers/json_in.h"
#include "handlers/process.h"
#include "handlers/receipt.h"
#include "handlers/route.h"

#include <stdio.h>

/* What is being read of a settlement: the items, and their receipts for the answer. */
struct settling {
    struct settlement *items;
    struct text *receipts;
    size_t count;
    size_t room; /* as many as the request lists */
};

/* How many receipts the request lists. */
static size_t count_receipts(const struct fields *fields)
{
    static const char *const LISTS[] = {"acks", "nacks", "extends", "rejects"};
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        const struct json *list =
            fields->object == NULL ? NULL : json_member(fields->object, text_of(LISTS[i]));
        count += list == NULL ? 0 : json_count(list);
    }
    return count;
}

static struct settling *make_settling(struct fields *fields)
{
    struct arena *arena = fields->x->arena;
    size_t count = count_receipts(fields);
    if (count > MESSAGES_PER_REQUEST_MAX) {
        fields_absorb(fields, exchange_refuse(fields->x, STATUS_INVALID_FIELD, "acks",
                                              "acks, nacks, extends and rejects must have at most "
                                              "%d receipts together.",
                                              MESSAGES_PER_REQUEST_MAX));
        return NULL;
    }
    struct settling *settling = arena_zalloc(arena, 1, sizeof *settling);
    if (settling != NULL) {
        settling->items = arena_zalloc(arena, count, sizeof *settling->items);
        settling->receipts = arena_zalloc(arena, count, sizeof *settling->receipts);
        settling->room = settling->items != NULL && settling->receipts != NULL ? count : 0;
    }
    return settling;
}

/* Takes a receipt as the next item; NULL when it is none. */
static struct settlement *take_receipt(struct fields *fields, const char *name,
                                       struct settling *settling, struct text given,
                                       enum settle_action action)
{
    struct exchange *x = fields->x;
    struct receipt receipt;
    if (fields->status != STATUS_OK || settling->count == settling->room) {
        return NULL;
    }
    if (!receipt_read(x->arena, x->process->secret, x->params[0], given, &receipt)) {
        field_refuse(fields, STATUS_INVALID_FIELD, name, "is not a receipt of this queue.");
        return NULL;
    }
    settling->receipts[settling->count] = given;
    struct settlement *item = &settling->items[settling->count++];
    *item = (struct settlement){
        .action = action, .message = receipt.message, .fence = receipt.fence, .delay_ms = ABSENT};
    return item;
}

static void read_acks(struct fields *fields, struct settling *settling)
{
    const struct json *list = field_list(fields, "acks", 0, MESSAGES_PER_REQUEST_MAX, false);
    const struct json *value = list == NULL ? NULL : json_first(list);
    char name[32];
    for (size_t i = 0; value != NULL; i++, value = json_next(value)) {
        snprintf(name, sizeof name, "acks[%zu]", i);
        take_receipt(fields, name, settling, json_text(value), SETTLE_ACK);
    }
}

static void read_item(struct fields *parent, const char *name, size_t index,
                      const struct json *value, enum settle_action action,
                      struct settling *settling)
{
    struct fields fields = fields_of_item(parent, name, (long)index, value);
    struct text given = field_text(&fields, "receipt", 1, RECEIPT_BYTES_MAX, true);
    struct settlement *item = take_receipt(&fields, "receipt", settling, given, action);
    if (item != NULL && action == SETTLE_NACK) {
        item->delay_ms = field_int(&fields, "delay_ms", 0, MESSAGE_DELAY_MS_MAX, ABSENT);
    }
    if (item != NULL && action == SETTLE_EXTEND) {
        item->lease_ms = field_int(&fields, "lease_ms", 1, MESSAGE_LEASE_MS_MAX, REQUIRED);
    } else if (item != NULL) {
        struct text reason = field_text(&fields, "reason", 0, MESSAGE_REASON_BYTES_MAX, false);
        item->reason = reason.len > 0 ? reason : TEXT_ABSENT;
    }
    fields_absorb(parent, fields_end(&fields));
}

static void read_items(struct fields *fields, const char *name, enum settle_action action,
                       struct settling *settling)
{
    const struct json *list = field_list(fields, name, 0, MESSAGES_PER_REQUEST_MAX, false);
    const struct json *value = list == NULL ? NULL : json_first(list);
    for (size_t i = 0; value != NULL; i++, value = json_next(value)) {
        read_item(fields, name, i, value, action, settling);
    }
}

static enum status parse_settle(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct settling *settling = make_settling(&fields);
    if (settling == NULL) {
        return fields_end(&fields); /* refused, or out of memory, which the arena tells */
    }
    read_acks(&fields, settling);
    read_items(&fields, "nacks", SETTLE_NACK, settling);
    read_items(&fields, "extends", SETTLE_EXTEND, settling);
    read_items(&fields, "rejects", SETTLE_REJECT, settling);
    x->scratch = settling;
    x->command.kind = COMMAND_MESSAGE_SETTLE;
    x->command.message_settle =
        (struct message_settle){.queue = x->params[0],
                                .items = {settling->items, settling->count},
                                .atomic = field_flag(&fields, "atomic", false)};
    return fields_end(&fields);
}

/* The receipts in the order of the request, each with its outcome. */
static void write_outcomes(struct exchange *x, struct json_out *out)
{
    static const char *const OUTCOMES[] = {
        [OUTCOME_ACKED] = "acked",       [OUTCOME_ALREADY_ACKED] = "already_acked",
        [OUTCOME_NACKED] = "nacked",     [OUTCOME_EXTENDED] = "extended",
        [OUTCOME_REJECTED] = "rejected", [OUTCOME_LEASE_LOST] = "lease_lost",
        [OUTCOME_GONE] = "gone",
    };
    const struct settling *settling = x->scratch;
    const struct outcomes *outcomes = &x->result.outcomes;
    out_key(out, "results");
    out_open(out, '[');
    for (size_t i = 0; i < outcomes->count && i < settling->count; i++) {
        out_open(out, '{');
        out_member_text(out, "receipt", settling->receipts[i]);
        out_member_text(out, "outcome", text_of(OUTCOMES[outcomes->at[i]]));
        out_close(out, '}');
    }
    out_close(out, ']');
}

static void render_settled(struct exchange *x)
{
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    write_outcomes(x, &out);
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

static void explain_settle(struct exchange *x, struct json_out *out)
{
    if (x->result.shape == SHAPE_OUTCOMES) {
        write_outcomes(x, out);
    }
}

static const struct route ROUTES[] = {
    {.method = METHOD_POST,
     .template = "/v1/queues/{queue}/settle",
     .operation = "settleMessages",
     .parse = parse_settle,
     .render = render_settled,
     .explain = explain_settle,
     .transactional = true,
     .takes_body = true},
};
const struct route_list settle_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
