/*
 * The peers that speak HTTP: bare libmicrohttpd, and etcd through its JSON gateway.
 *
 * The gateway wants keys and values in base64. A key's decimal digits are themselves valid base64, so they are patched
 * in as they are; the value is encoded once.
 */
#include "bench/http.h"
#include "bench/keyed.h"
#include "bench/modes.h"
#include "bench/payload.h"

static enum verdict ok_judge(void *client, const struct answer *answer)
{
    (void)client;
    return answer->status == 200 ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

static void hello_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    struct keyed *keyed = client;
    http_request(&keyed->request, "GET", "/", NULL);
    keyed_ready(keyed, workload);
}

static void base64_append(struct buffer *out, const struct buffer *from)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < from->bytes; i += 3) {
        size_t left = from->bytes - i;
        unsigned b0 = (unsigned char)from->at[i];
        unsigned b1 = left > 1 ? (unsigned char)from->at[i + 1] : 0;
        unsigned b2 = left > 2 ? (unsigned char)from->at[i + 2] : 0;
        unsigned bits = b0 << 16 | b1 << 8 | b2;
        char four[4] = {letters[bits >> 18], letters[bits >> 12 & 63],
                        left > 1 ? letters[bits >> 6 & 63] : '=',
                        left > 2 ? letters[bits & 63] : '='};
        buffer_append(out, four, sizeof four);
    }
}

static void etcd_put_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    struct keyed *keyed = client;
    struct buffer value = {0}, body = {0};
    payload_append(&value, workload);
    buffer_format(&body, "{\"key\":\"" KEY_MARK "\",\"value\":\"");
    base64_append(&body, &value);
    buffer_format(&body, "\"}");
    http_request(&keyed->request, "POST", "/v3/kv/put", &body);
    buffer_free(&value);
    buffer_free(&body);
    keyed_ready(keyed, workload);
}

static void range_open(struct keyed *keyed, struct workload *workload, const char *more)
{
    struct buffer body = {0};
    buffer_format(&body, "{\"key\":\"" KEY_MARK "\"%s}", more);
    http_request(&keyed->request, "POST", "/v3/kv/range", &body);
    buffer_free(&body);
    keyed_ready(keyed, workload);
}

static void etcd_get_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    range_open(client, workload, "");
}

static void etcd_get_serializable_open(void *client, struct workload *workload, unsigned index)
{
    (void)index;
    range_open(client, workload, ",\"serializable\":true");
}

static enum verdict etcd_get_judge(void *client, const struct answer *answer)
{
    const struct keyed *keyed = client;
    bool right = answer->status == 200 && answer->body_bytes > keyed->workload->data_bytes &&
                 answer_holds(answer, keyed->digits, KEY_DIGITS);
    return right ? VERDICT_GOOD : VERDICT_UNEXPECTED;
}

const struct protocol hello_protocol = {
    .name = "hello",
    .summary = "GET / of the bare libmicrohttpd server (bench-hello)",
    .wire = &http_wire,
    .client_bytes = sizeof(struct keyed),
    .open = hello_open,
    .close = keyed_close,
    .operations = 1,
    .step_count = 1,
    .steps = {{"get", keyed_prepare, ok_judge}},
};

const struct protocol etcd_put_protocol = {
    .name = "etcd-put",
    .summary = "etcd: put through the JSON gateway",
    .wire = &http_wire,
    .client_bytes = sizeof(struct keyed),
    .open = etcd_put_open,
    .close = keyed_close,
    .operations = 1,
    .step_count = 1,
    .steps = {{"put", keyed_prepare, ok_judge}},
};

const struct protocol etcd_get_protocol = {
    .name = "etcd-get",
    .summary =
        "etcd: linearizable range of one key, JSON gateway; etcd-put must have made all keys",
    .wire = &http_wire,
    .client_bytes = sizeof(struct keyed),
    .open = etcd_get_open,
    .close = keyed_close,
    .operations = 1,
    .step_count = 1,
    .steps = {{"get", keyed_prepare, etcd_get_judge}},
};

const struct protocol etcd_get_serializable_protocol = {
    .name = "etcd-get-serializable",
    .summary = "etcd: the same from whatever the member has, be it old",
    .wire = &http_wire,
    .client_bytes = sizeof(struct keyed),
    .open = etcd_get_serializable_open,
    .close = keyed_close,
    .operations = 1,
    .step_count = 1,
    .steps = {{"get", keyed_prepare, etcd_get_judge}},
};
