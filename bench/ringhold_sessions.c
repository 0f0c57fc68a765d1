/*
 * Ringhold's sessions: read one of many, write one of many. Ids are chosen by the client (PUT), so a key is enough to
 * find each again.
 */
#include "bench/http.h"
#include "bench/keyed.h"
#include "bench/modes.h"
#include "bench/payload.h"

static void session_open(struct keyed *keyed, struct workload *workload, const char *method,
                         const char *consistency, const struct buffer *body)
{
    struct buffer target = {0};
    buffer_format(
        &target, "/v1/sessions/%s-" KEY_MARK "%s%s%c", workload->name,
        consistency == NULL ? "" : "?consistency=", consistency == NULL ? "" : consistency, '\0');
    http_request(&keyed->request, method, target.at, body);
    buffer_free(&target);
    keyed_ready(keyed, workload);
}

static void session_get_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    session_open(client, workload, "GET", workload->consistency, NULL);
}

static void session_put_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    struct buffer body = {0};
    buffer_format(&body, "{\"data\":");
    payload_append(&body, workload);
    buffer_format(&body, "}");
    session_open(client, workload, "PUT", NULL, &body);
    buffer_free(&body);
}

static enum verdict session_get_judge(void *client, const struct answer *answer)
{
    const struct keyed *keyed = client;
    bool right = answer->status == 200 && answer->body_bytes > keyed->workload->data_bytes &&
                 answer_holds(answer, keyed->digits, KEY_DIGITS);
    return right ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

static enum verdict session_put_judge(void *client, const struct answer *answer)
{
    (void)client;
    bool written = answer->status == 200 || answer->status == 201;
    return written ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

const struct protocol session_get_protocol = {
    .name = "session-get",
    .summary = "GET a session; session-put must have made all keys before",
    .wire = &http_wire,
    .client_bytes = sizeof(struct keyed),
    .open = session_get_open,
    .close = keyed_close,
    .operations = 1,
    .step_count = 1,
    .steps = {{"get", keyed_prepare, session_get_judge}},
};

const struct protocol session_put_protocol = {
    .name = "session-put",
    .summary = "PUT a session, made or replaced",
    .wire = &http_wire,
    .client_bytes = sizeof(struct keyed),
    .open = session_put_open,
    .close = keyed_close,
    .operations = 1,
    .step_count = 1,
    .steps = {{"put", keyed_prepare, session_put_judge}},
};
