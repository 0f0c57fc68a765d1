/*
 * Ringhold's queues. All connections share one queue. A request carries `batch` messages: one for the plain cycle,
 * where each of send, receive and acknowledge is a request of its own.
 */
#include "bench/http.h"
#include "bench/modes.h"
#include "bench/payload.h"

#include <string.h>

struct worker {
    struct workload *workload;
    struct buffer send, receive;
    struct buffer settle_target;
    struct buffer settle, settle_body; /* built anew from each receive's receipts */
};

/* "/v1/queues/<name>/<verb>", NUL-terminated. */
static void target_write(struct buffer *target, const struct workload *workload, const char *verb)
{
    buffer_clear(target);
    buffer_format(target, "/v1/queues/%s/%s%c", workload->name, verb, '\0');
}

static void send_build(struct worker *worker)
{
    struct buffer target = {0}, body = {0};
    for (unsigned i = 0; i < worker->workload->batch; i++) {
        buffer_format(&body, "%s{\"body\":", i == 0 ? "{\"messages\":[" : ",");
        payload_append(&body, worker->workload);
        buffer_format(&body, "}");
    }
    buffer_format(&body, "]}");
    target_write(&target, worker->workload, "messages");
    http_request(&worker->send, "POST", target.at, &body);
    buffer_free(&target);
    buffer_free(&body);
}

static void receive_build(struct worker *worker, unsigned lease_ms)
{
    struct buffer target = {0}, body = {0};
    buffer_format(&body, "{\"max\":%u,\"lease_ms\":%u}", worker->workload->batch, lease_ms);
    target_write(&target, worker->workload, "receive");
    http_request(&worker->receive, "POST", target.at, &body);
    buffer_free(&target);
    buffer_free(&body);
}

static void worker_build(struct worker *worker, struct workload *workload, unsigned lease_ms)
{
    worker->workload = workload;
    send_build(worker);
    receive_build(worker, lease_ms);
    target_write(&worker->settle_target, workload, "settle");
}

static void worker_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    worker_build(client, workload, 30 * 1000);
}

/* For messages that are to stay leased while others are measured. */
static void lasting_worker_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    worker_build(client, workload, 60 * 60 * 1000);
}

static void worker_close(void *client)
{
    struct worker *worker = client;
    buffer_free(&worker->send);
    buffer_free(&worker->receive);
    buffer_free(&worker->settle_target);
    buffer_free(&worker->settle);
    buffer_free(&worker->settle_body);
}

static struct request send_prepare(void *client)
{
    const struct worker *worker = client;
    return request_of(&worker->send);
}

static enum verdict send_judge(void *client, const struct answer *answer)
{
    (void)client;
    return answer->status == 201 ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

static struct request receive_prepare(void *client)
{
    const struct worker *worker = client;
    return request_of(&worker->receive);
}

/* Goes on behind `*at` to the value of the next member whose text is `name` ("\"receipt\":\""); NULL at the end. */
static const char *next_value(const char *at, const char *end, const char *name, size_t bytes)
{
    const char *found = memmem(at, (size_t)(end - at), name, bytes);
    return found == NULL ? NULL : found + bytes;
}

/* Writes the settle request's body from the receipts in an answer; how many there were. */
static unsigned receipts_collect(struct buffer *body, const struct answer *answer)
{
    static const char name[] = "\"receipt\":\"";
    const char *at = answer->body, *end = at + answer->body_bytes, *quote;
    unsigned count = 0;
    buffer_clear(body);
    buffer_append(body, "{\"acks\":[", 9);
    while ((at = next_value(at, end, name, sizeof name - 1)) != NULL &&
           (quote = memchr(at, '"', (size_t)(end - at))) != NULL) {
        buffer_append(body, count == 0 ? "\"" : ",\"", count == 0 ? 1 : 2);
        buffer_append(body, at, (size_t)(quote + 1 - at));
        count++;
        at = quote;
    }
    buffer_append(body, "]}", 2);
    return count;
}

static enum verdict receive_judge(void *client, const struct answer *answer)
{
    struct worker *worker = client;
    if (answer->status != 200) {
        return VERDICT_UNEXPECTED;
    }
    return receipts_collect(&worker->settle_body, answer) == worker->workload->batch
               ? VERDICT_GOOD
               : VERDICT_EXHAUSTED;
}

/* In the plain cycle each worker has sent a message before it asks for one, so that one must be there. */
static enum verdict receive_own_judge(void *client, const struct answer *answer)
{
    enum verdict verdict = receive_judge(client, answer);
    return verdict == VERDICT_EXHAUSTED ? VERDICT_UNEXPECTED : verdict;
}

static struct request settle_prepare(void *client)
{
    struct worker *worker = client;
    http_request(&worker->settle, "POST", worker->settle_target.at, &worker->settle_body);
    return request_of(&worker->settle);
}

static enum verdict settle_judge(void *client, const struct answer *answer)
{
    static const char acked[] = "\"acked\"";
    const struct worker *worker = client;
    const char *at = answer->body, *end = at + answer->body_bytes;
    unsigned count = 0;
    while ((at = next_value(at, end, acked, sizeof acked - 1)) != NULL) {
        count++;
    }
    bool right = answer->status == 200 && count == worker->workload->batch;
    return right ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

const struct protocol queue_cycle_protocol = {
    .name = "queue-cycle",
    .summary = "send, receive, acknowledge; use --batch 1 for one message a request",
    .wire = &http_wire,
    .client_bytes = sizeof(struct worker),
    .open = worker_open,
    .close = worker_close,
    .operations_a_batch = true,
    .step_count = 3,
    .steps = {{"send", send_prepare, send_judge},
              {"receive", receive_prepare, receive_own_judge},
              {"ack", settle_prepare, settle_judge}},
};

const struct protocol queue_send_protocol = {
    .name = "queue-send",
    .summary = "send only",
    .wire = &http_wire,
    .client_bytes = sizeof(struct worker),
    .open = worker_open,
    .close = worker_close,
    .operations_a_batch = true,
    .step_count = 1,
    .steps = {{"send", send_prepare, send_judge}},
};

const struct protocol queue_drain_protocol = {
    .name = "queue-drain",
    .summary = "receive and acknowledge until the queue is empty",
    .wire = &http_wire,
    .client_bytes = sizeof(struct worker),
    .open = worker_open,
    .close = worker_close,
    .operations_a_batch = true,
    .step_count = 2,
    .steps = {{"receive", receive_prepare, receive_judge}, {"ack", settle_prepare, settle_judge}},
};

const struct protocol queue_lease_protocol = {
    .name = "queue-lease",
    .summary = "receive for an hour, acknowledge nothing",
    .wire = &http_wire,
    .client_bytes = sizeof(struct worker),
    .open = lasting_worker_open,
    .close = worker_close,
    .operations_a_batch = true,
    .step_count = 1,
    .steps = {{"receive", receive_prepare, receive_judge}},
};
