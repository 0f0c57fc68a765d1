/*
 * POST /v1/transactions: several operations of one routing key, all or none. Each operation is read by the parse of
 * its own route, as if it had come alone, and answered by its render; only the commit is shared.
 */
#include "handlers/json_in.h"
#include "handlers/problem.h"
#include "handlers/route.h"
#include "handlers/text_parse.h"

#include <stdio.h>

static const char *const METHODS[] = {"GET", "PUT", "POST", "PATCH", "DELETE", NULL};

/* An operation has one header, If-Match, its member if_match; its value is the exchange's request.source. */
static struct text operation_header(const void *source, const char *name)
{
    const struct text *if_match = source;
    return strcmp(name, "If-Match") == 0 ? *if_match : TEXT_ABSENT;
}

/* "17": the tag of a version, which is never a weak one. */
static bool is_etag(struct text said)
{
    struct text opaque;
    int64_t version;
    bool weak;
    return parse_next_etag(&said, &weak, &opaque) && said.len == 0 && !weak &&
           parse_decimal(opaque, &version);
}

/* A version, or what the header If-Match would say: its ETag, or *. */
static void read_if_match(struct fields *fields, struct text *ret)
{
    int64_t version = ABSENT;
    struct text said = TEXT_ABSENT;
    if (field_is_text(fields, "if_match")) {
        said = field_text(fields, "if_match", 1, DECIMAL_BYTES + 2, false);
    } else {
        version = field_int(fields, "if_match", 0, VERSION_MAX, ABSENT);
    }
    if (!text_given(said) && version == ABSENT) {
        return;
    }
    if (!text_given(said) || parse_decimal(said, &version)) {
        *ret = arena_format(fields->x->arena, "\"%lld\"", (long long)version);
    } else if (text_equal(said, TEXT("*")) || is_etag(said)) {
        *ret = said;
    } else {
        field_refuse(fields, STATUS_INVALID_FIELD, "if_match", "must be a version, an ETag, or *.");
    }
}

/* A request target as it would stand in a request line. */
static struct text read_path(struct fields *fields)
{
    struct text path = field_text(fields, "path", 1, TARGET_BYTES_MAX, true);
    bool valid = path.len > 4 && memcmp(path.at, "/v1/", 4) == 0;
    for (size_t i = 0; i < path.len; i++) {
        valid &= path.at[i] > ' ' && path.at[i] < 0x7f;
    }
    if (text_given(path) && !valid) {
        field_refuse(fields, STATUS_INVALID_FIELD, "path",
                     "must begin with /v1/ and hold no spaces; percent-encode what is not ASCII.");
    }
    return path;
}

static void read_request(struct fields *fields, struct exchange *one, struct text *if_match)
{
    struct text body = field_object(fields, "body", BODY_BYTES_MAX, false);
    one->request.method = (enum method)field_choice(fields, "method", METHODS, METHOD_OTHER);
    one->request.target = read_path(fields);
    one->request.body = text_given(body) ? body : TEXT("");
    one->request.header = operation_header;
    one->request.source = if_match;
    read_if_match(fields, if_match);
    if (one->request.method == METHOD_OTHER) {
        field_refuse(fields, STATUS_MISSING_FIELD, "method", "is required.");
    }
}

/* Makes the operation's own route read it. */
static enum status prepare(struct exchange *one)
{
    enum status status = exchange_route(one);
    /* The transaction's own path was found, and takes its method: 404 and 405 would say otherwise. */
    if (status == STATUS_NOT_FOUND || status == STATUS_METHOD_NOT_ALLOWED) {
        return exchange_refuse(one, STATUS_NOT_TRANSACTIONAL, NULL,
                               "The method and path are no operation of this API.");
    }
    if (status == STATUS_OK && !one->route->transactional) {
        return exchange_refuse(one, STATUS_NOT_TRANSACTIONAL, NULL,
                               "%s cannot run in a transaction.", one->route->operation);
    }
    if (status == STATUS_OK) {
        status = exchange_prepare(one);
    }
    if (status == STATUS_OK && one->wait_ms > 0) {
        status = exchange_refuse(one, STATUS_NOT_TRANSACTIONAL, "wait_ms",
                                 "An operation of a transaction waits for nothing.");
    }
    return status;
}

static enum status refuse_operation(struct exchange *x, size_t index, const struct exchange *one,
                                    enum status status)
{
    struct text detail = text_given(one->refused.detail) ? one->refused.detail
                                                         : text_of(status_info(status)->advice);
    char field[64];
    snprintf(field, sizeof field, "operations[%zu]", index);
    return exchange_refuse(x, status, field, "%s: %.*s", field, (int)detail.len, detail.at);
}

/* What an operation names is not there, as its own reading of the request found: it fails, as if it had been tried. */
static enum status fail_operation(struct exchange *x, size_t index, struct exchange *one,
                                  enum status status)
{
    struct result *failed = arena_zalloc(x->arena, 1, sizeof *failed);
    if (failed == NULL) {
        return STATUS_OUT_OF_MEMORY;
    }
    failed->status = status;
    x->scratch = one - index; /* the first of all operations, as explain expects */
    x->result = (struct result){.status = STATUS_TRANSACTION_FAILED,
                                .shape = SHAPE_TRANSACTION_FAILURE,
                                .failure = {(int64_t)index, {failed, 1}}};
    return STATUS_TRANSACTION_FAILED;
}

static enum status parse_operation(struct exchange *x, struct fields *parent, size_t index,
                                   const struct json *value, struct exchange *one)
{
    struct text *if_match = arena_zalloc(x->arena, 1, sizeof *if_match);
    if (if_match == NULL) {
        return STATUS_OUT_OF_MEMORY;
    }
    struct fields fields = fields_of_item(parent, "operations", (long)index, value);
    *one = exchange_make(x->process, x->arena);
    one->now = x->now;
    one->in_transaction = true;
    read_request(&fields, one, if_match);
    enum status status = fields_end(&fields);
    if (status != STATUS_OK) {
        return status;
    }
    status = prepare(one);
    if (status_info(status)->http == 404) {
        return fail_operation(x, index, one, status);
    }
    if (status != STATUS_OK) {
        return refuse_operation(x, index, one, status);
    }
    if (one->routing_key.len == 0) { /* a token that can be of no session: it is found nowhere */
        return STATUS_OK;
    }
    if (x->routing_key.len == 0) {
        x->routing_key = one->routing_key;
    } else if (!text_equal(x->routing_key, one->routing_key)) {
        return exchange_refuse(x, STATUS_CROSS_PARTITION, "operations",
                               "operations[%zu] has the routing key %.*s, those before it %.*s.",
                               index, (int)one->routing_key.len, one->routing_key.at,
                               (int)x->routing_key.len, x->routing_key.at);
    }
    return STATUS_OK;
}

static enum status parse_operations(struct exchange *x, struct fields *fields,
                                    const struct json *list)
{
    size_t count = json_count(list), i = 0;
    struct exchange *operations = arena_zalloc(x->arena, count, sizeof *operations);
    struct command *commands = arena_zalloc(x->arena, count, sizeof *commands);
    if (operations == NULL || commands == NULL) {
        return STATUS_OUT_OF_MEMORY;
    }
    for (const struct json *value = json_first(list); value != NULL; value = json_next(value)) {
        enum status status = parse_operation(x, fields, i, value, &operations[i]);
        if (status != STATUS_OK) {
            return status;
        }
        commands[i] = operations[i].command;
        i++;
    }
    x->scratch = operations;
    x->command.kind = COMMAND_TRANSACTION;
    x->command.transaction.operations = (struct commands){commands, count};
    return STATUS_OK;
}

static enum status parse(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    const struct json *list =
        field_list(&fields, "operations", 1, TRANSACTION_OPERATIONS_MAX, true);
    if (list != NULL) {
        fields_absorb(&fields, parse_operations(x, &fields, list));
    }
    return fields_end(&fields);
}

static void render_operation(struct exchange *one, const struct result *result,
                             struct json_out *out)
{
    one->result = *result;
    one->route->render(one);
    out_open(out, '{');
    out_member_int(out, "status", one->response.status);
    if (text_given(one->response.body)) {
        out_member_raw(out, "body", one->response.body);
    }
    out_close(out, '}');
}

static void render(struct exchange *x)
{
    struct exchange *operations = x->scratch;
    const struct results *results = &x->result.results;
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_key(&out, "results");
    out_open(&out, '[');
    for (size_t i = 0; i < results->count; i++) {
        render_operation(&operations[i], &results->at[i], &out);
    }
    out_close(&out, ']');
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

static void explain(struct exchange *x, struct json_out *out)
{
    if (x->result.shape != SHAPE_TRANSACTION_FAILURE) {
        return;
    }
    const struct transaction_failure *failure = &x->result.failure;
    struct exchange *one = (struct exchange *)x->scratch + failure->index;
    one->result = failure->failed.at[0];
    out_member_int(out, "index", failure->index);
    out_key(out, "problem");
    problem_write(one, one->result.status, out);
}

static const struct route ROUTES[] = {{.method = METHOD_POST,
                                       .template = "/v1/transactions",
                                       .operation = "runTransaction",
                                       .parse = parse,
                                       .render = render,
                                       .explain = explain,
                                       .takes_body = true}};
const struct route_list transaction_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
