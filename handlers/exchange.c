#include "handlers/exchange.h"

#include "handlers/digest.h"
#include "handlers/problem.h"
#include "handlers/process.h"
#include "handlers/route.h"
#include "handlers/text_parse.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

struct exchange exchange_make(const struct process *process, struct arena *arena)
{
    return (struct exchange){.arena = arena, .process = process};
}

/* ---- the route ---------------------------------------------------------------------------------------------------- */

static enum status decode_names(struct exchange *x, const struct text raw[PARAMS_MAX])
{
    for (size_t i = 0; i < PARAMS_MAX && text_given(raw[i]); i++) {
        if (!parse_percent(raw[i], false, x->arena, &x->params[i]) || !name_valid(x->params[i])) {
            return exchange_refuse(x, STATUS_INVALID_NAME, NULL,
                                   "The path segment \"%.*s\" is not a name: use 1 to 255 bytes of "
                                   "A-Z a-z 0-9 . _ - ~ : @ + = , after percent-decoding.",
                                   (int)(raw[i].len < 80 ? raw[i].len : 80), raw[i].at);
        }
    }
    return STATUS_OK;
}

static enum status find_route(struct exchange *x)
{
    struct text raw[PARAMS_MAX] = {TEXT_ABSENT, TEXT_ABSENT, TEXT_ABSENT};
    char allowed[64];
    if (x->request.target.len > TARGET_BYTES_MAX) {
        return exchange_refuse(x, STATUS_URI_TOO_LONG, NULL, "The target is longer than %d bytes.",
                               TARGET_BYTES_MAX);
    }
    x->route = route_find(x->request.method, x->request.path, raw, allowed);
    if (x->route == NULL && allowed[0] != '\0') {
        exchange_header(x, "Allow", arena_copy(x->arena, text_of(allowed)));
        return exchange_refuse(x, STATUS_METHOD_NOT_ALLOWED, NULL, "This path takes %s.", allowed);
    }
    return x->route == NULL ? STATUS_NOT_FOUND : decode_names(x, raw);
}

/* RFC 9112 §3.2.2: a target may be a whole URL. There is one host here, so what counts is the path behind it. */
static struct text origin_form(struct text target)
{
    bool absolute = target.len > 7 && strncasecmp(target.at, "http://", 7) == 0;
    const char *slash = absolute ? memchr(target.at + 7, '/', target.len - 7) : NULL;
    return slash == NULL ? target : (struct text){slash, target.len - (size_t)(slash - target.at)};
}

enum status exchange_route(struct exchange *x)
{
    x->request.target = origin_form(x->request.target);
    struct text target = x->request.target;
    const char *mark = memchr(target.at, '?', target.len);
    x->request.path = mark == NULL ? target : (struct text){target.at, (size_t)(mark - target.at)};
    x->request.query =
        mark == NULL ? TEXT_ABSENT : (struct text){mark + 1, target.len - x->request.path.len - 1};
    enum status status = find_route(x);
    if (status != STATUS_OK) {
        exchange_problem(x, status);
    }
    return status;
}

/* ---- the steps ---------------------------------------------------------------------------------------------------- */

static enum status check_media_type(struct exchange *x)
{
    struct text type = x->request.header(x->request.source, "Content-Type");
    struct text coding = x->request.header(x->request.source, "Content-Encoding");
    if (text_given(coding) && !text_equal_nocase(text_trim(coding), "identity")) {
        return exchange_refuse(x, STATUS_UNSUPPORTED_MEDIA_TYPE, NULL,
                               "The body is declared as encoded; only plain bodies are read.");
    }
    if (!text_given(type) || x->request.body.len == 0) {
        return STATUS_OK;
    }
    const char *semicolon = memchr(type.at, ';', type.len);
    type.len = semicolon == NULL ? type.len : (size_t)(semicolon - type.at);
    type = text_trim(type);
    /* curl -d says x-www-form-urlencoded, whatever it sends; a tour with curl should not need a header each time. */
    bool json = text_equal_nocase(type, "application/json") ||
                (type.len > 17 && text_equal_nocase((struct text){type.at, 12}, "application/") &&
                 text_equal_nocase((struct text){type.at + type.len - 5, 5}, "+json")) ||
                text_equal_nocase(type, "application/x-www-form-urlencoded") ||
                text_equal_nocase(type, "text/plain");
    return json ? STATUS_OK
                : exchange_refuse(x, STATUS_UNSUPPORTED_MEDIA_TYPE, NULL,
                                  "The body is declared as %.*s.",
                                  (int)(type.len < 80 ? type.len : 80), type.at);
}

/* The ring and the counts are what this process knows, whatever partitions are here; the ring's watchers only need
   somewhere to look. */
bool exchange_asks_partition(const struct exchange *x)
{
    return !x->route->local && x->command.kind != COMMAND_TOTALS;
}

enum status exchange_prepare(struct exchange *x)
{
    const struct route *route = x->route;
    enum status status = STATUS_OK;
    if (route->takes_body) {
        status = check_media_type(x);
    } else if (x->request.body.len > 0) {
        status = exchange_refuse(x, STATUS_BAD_REQUEST, NULL, "This operation takes no body.");
    }
    if (status == STATUS_OK && route->parse != NULL) {
        status = route->parse(x);
    }
    if (status == STATUS_OK && exchange_asks_partition(x) && x->request.method == METHOD_GET) {
        status = exchange_consistency(x);
    }
    /* Health checks and scrapers may say more than they are asked for; clients of the API may not. */
    if (status == STATUS_OK && text_given(x->request.query) &&
        strncmp(route->template, "/v1/", 4) == 0) {
        status = exchange_parameters_end(x);
    }
    if (!text_given(x->routing_key) && text_given(x->params[0])) {
        x->routing_key = text_routing_key(x->params[0]);
    }
    if (status == STATUS_OK && x->request.method == METHOD_POST) {
        status = exchange_idempotency(x);
    }
    return x->arena->exhausted ? STATUS_OUT_OF_MEMORY : status;
}

static enum next run_command(struct exchange *x)
{
    x->command.stamp = x->now;
    /* What a POST with an Idempotency-Key answers is kept, so it goes where it can be kept, even if it only reads. */
    bool kept = text_given(x->command.idempotency.key_hash);
    return command_reads(x->command.kind) && !kept ? NEXT_READ : NEXT_COMMIT;
}

static enum next render(struct exchange *x)
{
    x->route->render(x);
    if (x->arena->exhausted) {
        return exchange_problem(x, STATUS_OUT_OF_MEMORY);
    }
    if (x->result.replayed) {
        exchange_header(x, "Idempotent-Replayed", TEXT("true"));
    }
    return NEXT_ANSWER;
}

static enum next turn(struct exchange *x, enum next next)
{
    switch (next) {
    case NEXT_READ:
    case NEXT_COMMIT:
        return run_command(x);
    case NEXT_PARK:
        return NEXT_PARK;
    case NEXT_ANSWER:
        break;
    }
    if (x->response.status != 0) {
        return NEXT_ANSWER; /* the route has answered already */
    }
    return status_is_ok(x->result.status) ? render(x) : exchange_problem(x, x->result.status);
}

enum next exchange_answer(struct exchange *x)
{
    return turn(x, NEXT_ANSWER);
}

enum next exchange_begin(struct exchange *x)
{
    x->waits_until = x->now.lease_now_ms + x->wait_ms;
    return x->route->local ? render(x) : run_command(x);
}

/* Nothing was changed, and If-Match names another version. Versions only grow and are tried from the smallest: had the
   resource been at one of them all the time, one would have held. */
static bool next_version(struct exchange *x)
{
    if (x->result.status != STATUS_VERSION_MISMATCH || x->match_left == 0) {
        return false;
    }
    x->match_at++;
    x->asked_count = 0;
    x->result = (struct result){.status = STATUS_OK};
    return true;
}

enum next exchange_continue(struct exchange *x)
{
    if (next_version(x)) {
        enum status status = exchange_prepare(x);
        return status == STATUS_OK ? exchange_begin(x) : exchange_problem(x, status);
    }
    bool more = x->route->after != NULL && !x->result.replayed;
    return turn(x, more ? x->route->after(x) : NEXT_ANSWER);
}

enum next exchange_wake(struct exchange *x, enum wake why)
{
    assert(x->route->wake != NULL);
    return turn(x, x->route->wake(x, why));
}

/* ---- answering ---------------------------------------------------------------------------------------------------- */

enum next exchange_problem(struct exchange *x, enum status status)
{
    problem_render(x, status);
    return NEXT_ANSWER;
}

/* A sentence quotes what the client sent, and may be cut in the middle of a character: what is not UTF-8 becomes '?',
   so that the problem document is JSON whatever was sent. */
static struct text quotable(struct arena *arena, const char *words)
{
    struct text copy = arena_copy(arena, text_of(words));
    for (size_t i = 0; i < copy.len;) {
        size_t len = utf8_length((struct text){copy.at + i, copy.len - i});
        if (len == 0) {
            ((char *)(uintptr_t)copy.at)[i] = '?';
        }
        i += len == 0 ? 1 : len;
    }
    return copy;
}

enum status exchange_refuse(struct exchange *x, enum status status, const char *field,
                            const char *format, ...)
{
    char words[512];
    va_list list;
    va_start(list, format);
    vsnprintf(words, sizeof words, format, list);
    va_end(list);
    x->refused.field = quotable(x->arena, field);
    x->refused.detail = quotable(x->arena, words);
    return status;
}

void exchange_header(struct exchange *x, const char *name, struct text value)
{
    assert(x->response.header_count < RESPONSE_HEADERS_MAX);
    if (text_given(value)) {
        x->response.headers[x->response.header_count++] = (struct header){name, value};
    }
}

void exchange_etag(struct exchange *x, int64_t version)
{
    char buffer[DECIMAL_BYTES];
    struct text digits = text_decimal(version, buffer);
    char *tag = arena_alloc(x->arena, DECIMAL_BYTES + 2);
    if (tag != NULL) {
        tag[0] = '"';
        memcpy(tag + 1, digits.at, digits.len);
        memcpy(tag + 1 + digits.len, "\"", 2); /* and the NUL */
        exchange_header(x, "ETag", (struct text){tag, digits.len + 2});
    }
}

void exchange_respond(struct exchange *x, int http_status, struct text body)
{
    x->response.status = http_status;
    x->response.body = body;
    x->response.content_type = text_given(body) ? "application/json" : NULL;
}
