#include "handlers/errand.h"

#include "db/codec.h"
#include "handlers/json.h"

static enum status parse(struct exchange *x)
{
    struct command *command = &x->command;
    if (!command_decode(x->request.body, x->arena, command)) {
        return STATUS_BAD_REQUEST;
    }
    switch ((int)command->kind) {
    case COMMAND_SHARD_WRITE:
    case COMMAND_SHARD_READ:
    case COMMAND_SESSION_ARRIVE:
    case COMMAND_SESSION_DELETE: /* of one that arrived for nothing */
        return STATUS_OK;
    default:
        return STATUS_BAD_REQUEST;
    }
}

static void render(struct exchange *x)
{
    x->response.status = 200;
    x->response.content_type = "application/octet-stream";
    x->response.body = result_encode(&x->result, x->arena);
}

static enum next after(struct exchange *x)
{
    render(x); /* refusals too: they have more to say than a problem document */
    return NEXT_ANSWER;
}

const struct route errand_route = {.method = METHOD_POST,
                                   .template = "",
                                   .operation = "errand",
                                   .parse = parse,
                                   .render = render,
                                   .after = after,
                                   .takes_body = true};

struct result errand_result(struct arena *arena, int http_status, struct text body)
{
    struct result result = {.status = STATUS_INTERNAL};
    const struct json *problem = NULL;
    struct json_error error;
    if (http_status == 200) {
        bool whole = result_decode(body, arena, &result);
        return whole ? result : (struct result){.status = STATUS_INTERNAL};
    }
    if (json_read(arena, body, &problem, &error) == STATUS_OK) {
        struct text code = json_text(json_member(problem, TEXT("code")));
        enum status status =
            text_given(code) ? status_from_code(arena_copy(arena, code).at) : STATUS_COUNT;
        result.status = status < STATUS_COUNT && !status_is_ok(status) ? status : STATUS_INTERNAL;
    }
    return result;
}
