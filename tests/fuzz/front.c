#include "tests/fuzz/front.h"

#include "db/codec.h"
#include "handlers/ring.h"
#include "handlers/text_parse.h"

#include <jansson.h>

/* ---- the process -------------------------------------------------------------------------------------------------- */

static void on_status(const struct process *process, struct process_status *ret)
{
    (void)process;
    *ret = (struct process_status){.ready = true, .storage_ok = true};
}

static struct text on_metrics(const struct process *process, struct arena *arena)
{
    (void)process;
    (void)arena;
    return TEXT("ringhold_up 1\n");
}

const struct process front_process = {.version = {"0.0.0", 5},
                                      .node = {"fuzz", 4},
                                      .node_id = {"0123456789abcdef", 16},
                                      .url = {"http://127.0.0.1:1", 18},
                                      .durability = {"full", 4},
                                      .secret = {"a secret of thirty-two bytes ...", 32},
                                      .ring = ring_alone,
                                      .status = on_status,
                                      .metrics = on_metrics};

/* ---- the request -------------------------------------------------------------------------------------------------- */

enum method front_method(struct text word)
{
    static const char *const WORDS[] = {"GET", "PUT", "POST", "PATCH", "DELETE"};
    for (int i = 0; i < METHOD_OTHER; i++) {
        if (text_equal(word, text_of(WORDS[i]))) {
            return (enum method)i;
        }
    }
    return METHOD_OTHER;
}

struct text front_line(struct text *rest)
{
    if (rest->len == 0) {
        return TEXT_ABSENT;
    }
    const char *end = memchr(rest->at, '\n', rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->at);
    struct text line = {rest->at, len};
    len += end != NULL;
    rest->at += len;
    rest->len -= len;
    return line;
}

/* `source` is the text of all header lines. */
static struct text header_of(const void *source, const char *name)
{
    struct text rest = *(const struct text *)source, line;
    while (text_given(line = front_line(&rest))) {
        const char *colon = line.len == 0 ? NULL : memchr(line.at, ':', line.len);
        size_t len = colon == NULL ? line.len : (size_t)(colon - line.at);
        if (colon != NULL && text_equal_nocase((struct text){line.at, len}, name)) {
            return text_trim((struct text){colon + 1, line.len - len - 1});
        }
    }
    return TEXT_ABSENT;
}

struct exchange front_request(struct arena *arena, struct text line, struct text headers,
                              struct text body)
{
    struct exchange x = exchange_make(&front_process, arena);
    struct text *source = arena_alloc(arena, sizeof *source);
    const char *space = line.len == 0 ? NULL : memchr(line.at, ' ', line.len);
    size_t len = space == NULL ? line.len : (size_t)(space - line.at);
    PROMISE(source != NULL, "there is memory");
    *source = headers;
    x.request.method = front_method((struct text){line.at, len});
    x.request.target = space == NULL ? TEXT("/") : (struct text){space + 1, line.len - len - 1};
    x.request.body = body.len == 0 ? TEXT("") : body;
    x.request.header = header_of;
    x.request.source = source;
    return x;
}

/* ---- machines ----------------------------------------------------------------------------------------------------- */

struct machine *front_machine(int number, struct arena *arena)
{
    static const unsigned char SEED[32] = "a test's seed, always the same.";
    static struct machine *machines[2];
    char why[256];
    if (machines[number] == NULL) {
        enum status status =
            machine_open(":memory:", STORAGE_WRITTEN, false, SEED, &machines[number], why);
        PROMISE(status == STATUS_OK, "%s", why);
    }
    machine_begin(machines[number], arena);
    return machines[number];
}

const char *front_forget(struct machine *machine)
{
    /* A command without memory makes its batch fail. */
    struct arena none = {.exhausted = true};
    struct command command = {.kind = COMMAND_TOTALS};
    struct result result;
    struct events events;
    machine_apply(machine, &command, &none, &result);
    PROMISE(machine_commit(machine, &events) != STATUS_OK, "it forgets");
    arena_free(&none);
    const char *failure = machine_failure(machine);
    return strcmp(failure, "out of memory") == 0 ? NULL : failure;
}

/* ---- the promises ------------------------------------------------------------------------------------------------- */

/* NULL where the client's own numbers or keys, which come back as they were written, are more than jansson can hold. */
static json_t *parsed(struct text body)
{
    json_error_t error;
    json_t *value = json_loadb(body.at, body.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    PROMISE(value != NULL || json_error_code(&error) == json_error_numeric_overflow ||
                json_error_code(&error) == json_error_null_byte_in_key,
            "%s in %.*s", error.text, (int)body.len, body.at);
    return value;
}

static void check_problem(const struct response *response)
{
    json_t *problem = parsed(response->body);
    if (problem == NULL) {
        return;
    }
    const char *code = json_string_value(json_object_get(problem, "code"));
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    PROMISE(code != NULL && detail != NULL && detail[0] != '\0', "%.*s", (int)response->body.len,
            response->body.at);
    enum status status = status_from_code(code);
    PROMISE(status != STATUS_COUNT && !status_is_ok(status), "code %s", code);
    PROMISE(status_info(status)->http == response->status, "%s as %d", code, response->status);
    /* Nothing here may fail for a reason of our own. */
    PROMISE(status != STATUS_INTERNAL && status != STATUS_OUT_OF_MEMORY, "%.*s",
            (int)response->body.len, response->body.at);
    json_decref(problem);
}

static void check_headers(const struct response *response)
{
    for (size_t i = 0; i < response->header_count; i++) {
        struct text value = response->headers[i].value;
        for (size_t j = 0; j < value.len; j++) {
            unsigned char c = (unsigned char)value.at[j];
            PROMISE(c >= 0x20 && c != 0x7f, "byte %d in header %s", c, response->headers[i].name);
        }
    }
}

void front_check(const struct exchange *x)
{
    const struct response *response = &x->response;
    PROMISE(response->status >= 200 && response->status < 600, "status %d", response->status);
    PROMISE(response->status >= 400 || text_given(response->body) || response->status == 204 ||
                response->status == 304,
            "status %d without a body", response->status);
    check_headers(response);
    if (response->status >= 400) {
        PROMISE(strcmp(response->content_type, "application/problem+json") == 0, "it is %s",
                response->content_type);
        check_problem(response);
    } else if (response->content_type != NULL &&
               strcmp(response->content_type, "application/json") == 0) {
        json_decref(parsed(response->body));
    }
}

void front_check_command(const struct command *command, struct arena *arena)
{
    struct command back;
    struct text bytes = command_encode(command, arena);
    PROMISE(text_given(bytes), "%s", command_name(command->kind));
    PROMISE(command_decode(bytes, arena, &back), "%s", command_name(command->kind));
    PROMISE(text_equal(command_encode(&back, arena), bytes), "%s", command_name(command->kind));
}

void front_check_result(const struct result *result, struct arena *arena)
{
    struct result back;
    struct text bytes = result_encode(result, arena);
    PROMISE(text_given(bytes), "status %s", status_info(result->status)->code);
    PROMISE(result_decode(bytes, arena, &back), "status %s", status_info(result->status)->code);
    PROMISE(text_equal(result_encode(&back, arena), bytes), "shape %d", (int)result->shape);
}
