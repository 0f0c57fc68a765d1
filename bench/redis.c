/*
 * Redis: RESP framing of the answers SET and GET give, and the two modes.
 */
#include "bench/keyed.h"
#include "bench/modes.h"
#include "bench/payload.h"

#include <stdlib.h>
#include <string.h>

/* Simple strings, errors, integers and bulk strings; nothing here asks for arrays. The status is the type's letter,
   '_' for a bulk string that is absent. */
static enum framing resp_frame(const char *at, size_t bytes, struct answer *ret_answer)
{
    const char *line_end = memmem(at, bytes, "\r\n", 2);
    if (line_end == NULL) {
        return FRAMING_PARTIAL;
    }
    size_t line = (size_t)(line_end - at) + 2;
    if (strchr("+-:$", at[0]) == NULL) {
        return FRAMING_BROKEN;
    }
    if (at[0] != '$') {
        *ret_answer = (struct answer){at[0], at + 1, line - 3, line};
        return FRAMING_WHOLE;
    }
    long length = strtol(at + 1, NULL, 10);
    if (length < 0) {
        *ret_answer = (struct answer){'_', at, 0, line};
        return FRAMING_WHOLE;
    }
    size_t whole = line + (size_t)length + 2;
    *ret_answer = (struct answer){'$', at + line, (size_t)length, whole};
    return bytes < whole ? FRAMING_PARTIAL : FRAMING_WHOLE;
}

const struct wire resp_wire = {"resp", resp_frame};

static void argument_append(struct buffer *out, const char *at, size_t bytes)
{
    buffer_format(out, "$%zu\r\n", bytes);
    buffer_append(out, at, bytes);
    buffer_append(out, "\r\n", 2);
}

static void redis_open(struct keyed *keyed, struct workload *workload, const char *command,
                       const struct buffer *value)
{
    buffer_format(&keyed->request, "*%d\r\n", value == NULL ? 2 : 3);
    argument_append(&keyed->request, command, strlen(command));
    argument_append(&keyed->request, "key-" KEY_MARK, strlen("key-") + KEY_DIGITS);
    if (value != NULL) {
        argument_append(&keyed->request, value->at, value->bytes);
    }
    keyed_ready(keyed, workload);
}

static void redis_get_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    redis_open(client, workload, "GET", NULL);
}

static void redis_set_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    struct buffer value = {0};
    payload_append(&value, workload);
    redis_open(client, workload, "SET", &value);
    buffer_free(&value);
}

static enum verdict redis_get_judge(void *client, const struct answer *answer)
{
    const struct keyed *keyed = client;
    bool right = answer->status == '$' && answer->body_bytes == keyed->workload->data_bytes;
    return right ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

static enum verdict redis_set_judge(void *client, const struct answer *answer)
{
    (void)client;
    return answer->status == '+' ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

const struct protocol redis_get_protocol = {
    .name = "redis-get",
    .summary = "Redis: GET; redis-set must have made all keys before",
    .wire = &resp_wire,
    .client_bytes = sizeof(struct keyed),
    .open = redis_get_open,
    .close = keyed_close,
    .operations = 1,
    .step_count = 1,
    .steps = {{"get", keyed_prepare, redis_get_judge}},
};

const struct protocol redis_set_protocol = {
    .name = "redis-set",
    .summary = "Redis: SET",
    .wire = &resp_wire,
    .client_bytes = sizeof(struct keyed),
    .open = redis_set_open,
    .close = keyed_close,
    .operations = 1,
    .step_count = 1,
    .steps = {{"set", keyed_prepare, redis_set_judge}},
};
