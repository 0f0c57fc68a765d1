#include "tests/unit/client.h"

#include "handlers/route.h"

#include "handlers/process.h"
#include "handlers/text_parse.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>

enum { HEADERS_ROOM = 8 };

struct sent {
    const char *headers[HEADERS_ROOM + 1]; /* NULL ends them */
};

static struct text sent_header(const void *source, const char *name)
{
    const struct sent *sent = source;
    for (size_t i = 0; sent->headers[i] != NULL; i++) {
        const char *colon = strchr(sent->headers[i], ':');
        struct text key = {sent->headers[i], (size_t)(colon - sent->headers[i])};
        if (text_equal_nocase(key, name)) {
            return text_trim(text_of(colon + 1));
        }
    }
    return TEXT_ABSENT;
}

static enum method method_of(struct text word)
{
    static const char *const WORDS[] = {"GET", "PUT", "POST", "PATCH", "DELETE"};
    for (int i = 0; i < METHOD_OTHER; i++) {
        if (text_equal(word, text_of(WORDS[i]))) {
            return (enum method)i;
        }
    }
    return METHOD_OTHER;
}

static struct reply go_on(struct fixture *f, struct exchange *x, enum next next)
{
    while (next == NEXT_READ || next == NEXT_COMMIT) {
        x->now = f->now;
        x->result = next == NEXT_READ ? fixture_read(f, x->command) : fixture_do(f, x->command);
        next = exchange_continue(x);
    }
    return (struct reply){x, next == NEXT_PARK ? 0 : x->response.status};
}

static enum next begin(struct exchange *x)
{
    enum status status = exchange_prepare(x);
    return status == STATUS_OK ? exchange_begin(x) : exchange_problem(x, status);
}

struct reply client_ask(struct fixture *f, const char *line, const char *body, ...)
{
    static const struct process PROCESS = {.node = {"test", 4},
                                           .secret = {"a secret of the tests", 21}};
    struct exchange *x = arena_zalloc(&f->arena, 1, sizeof *x);
    struct sent *sent = arena_zalloc(&f->arena, 1, sizeof *sent);
    const char *space = strchr(line, ' ');
    va_list list;
    va_start(list, body);
    for (size_t i = 0; i < HEADERS_ROOM && (sent->headers[i] = va_arg(list, char *)); i++) {
    }
    va_end(list);
    *x = exchange_make(&PROCESS, &f->arena);
    x->now = f->now;
    x->request.method = method_of((struct text){line, (size_t)(space - line)});
    x->request.target = arena_copy(&f->arena, text_of(space + 1));
    x->request.body = body == NULL ? TEXT("") : arena_copy(&f->arena, text_of(body));
    x->request.header = sent_header;
    x->request.source = sent;
    return go_on(f, x, exchange_route(x) == STATUS_OK ? begin(x) : NEXT_ANSWER);
}

struct text client_cursor(struct fixture *f, const char *path, struct text key)
{
    struct exchange x = {.arena = &f->arena};
    char allowed[64];
    x.route = route_find(METHOD_GET, text_of(path), x.params, allowed);
    cr_assert_not_null(x.route, "%s", path);
    return exchange_cursor(&x, key);
}

struct reply client_wake(struct fixture *f, struct reply parked, enum wake why)
{
    cr_assert_eq(parked.status, 0, "the request is not parked");
    parked.x->now = f->now;
    return go_on(f, parked.x, exchange_wake(parked.x, why));
}

static json_t *find(json_t *value, const char *path)
{
    while (value != NULL && *path != '\0') {
        char key[64];
        size_t len = strcspn(path, ".");
        cr_assert_lt(len, sizeof key);
        memcpy(key, path, len);
        key[len] = '\0';
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(key))
                                     : json_object_get(value, key);
        path += len + (path[len] == '.');
    }
    return value;
}

const char *reply_member(struct fixture *f, struct reply reply, const char *path)
{
    struct text body = reply.x->response.body;
    json_t *root = json_loadb(body.at == NULL ? "" : body.at, body.len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    json_t *value = find(root, path);
    char *dumped = value == NULL ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    const char *kept = arena_copy(&f->arena, text_of(dumped)).at;
    free(dumped);
    json_decref(root);
    return kept;
}

const char *reply_string(struct fixture *f, struct reply reply, const char *path)
{
    const char *quoted = reply_member(f, reply, path);
    cr_assert(quoted != NULL && quoted[0] == '"', "%s is no string: %s", path, quoted);
    return arena_copy(&f->arena, (struct text){quoted + 1, strlen(quoted) - 2}).at;
}

const char *reply_header(struct fixture *f, struct reply reply, const char *name)
{
    const struct response *response = &reply.x->response;
    for (size_t i = 0; i < response->header_count; i++) {
        if (strcmp(response->headers[i].name, name) == 0) {
            return arena_copy(&f->arena, response->headers[i].value).at;
        }
    }
    return NULL;
}

void expect_member(struct fixture *f, struct reply reply, const char *path, const char *json)
{
    const char *got = reply_member(f, reply, path);
    bool same = got == NULL || json == NULL ? got == json : strcmp(got, json) == 0;
    cr_expect(same, "%s is %s instead of %s", path, got, json);
}

void expect_problem(struct fixture *f, struct reply reply, enum status status)
{
    const struct status_info *info = status_info(status);
    cr_expect_eq(reply.status, info->http, "%d %.*s instead of %d", reply.status,
                 (int)reply.x->response.body.len, reply.x->response.body.at, info->http);
    cr_expect_str_eq(reply.x->response.content_type, "application/problem+json");
    expect_member(f, reply, "code", arena_format(&f->arena, "\"%s\"", info->code).at);
}
