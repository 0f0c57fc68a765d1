/*
 * Leases over HTTP (API.md §3): acquiring, waiting, watching, renewing, releasing.
 */
#include "handlers/digest.h"
#include "handlers/lease_json.h"
#include "handlers/lease_wait.h"
#include "handlers/route.h"
#include "handlers/text_parse.h"

enum { LEASE_RANDOM_BYTES = 12 };

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static void respond_lease(struct exchange *x, int http_status)
{
    const struct lease_view *lease = &x->result.lease;
    struct json_out out = out_begin(x->arena);
    lease_write(&out, lease, &x->result.stamp);
    exchange_etag(x, lease->version);
    exchange_respond(x, http_status, out_end(&out));
}

static void render_lease(struct exchange *x)
{
    respond_lease(x, 200);
}

static void render_acquired(struct exchange *x)
{
    const struct lease_view *lease = &x->result.lease;
    if (x->result.status != STATUS_OK) {
        exchange_header(x, "Location",
                        arena_format(x->arena, "/v1/locks/%.*s/leases/%.*s", (int)lease->name.len,
                                     lease->name.at, (int)lease->lease.len, lease->lease.at));
    }
    respond_lease(x, status_info(x->result.status)->http);
}

static void render_nothing(struct exchange *x)
{
    exchange_respond(x, 204, TEXT_ABSENT);
}

/* ---- acquiring ---------------------------------------------------------------------------------------------------- */

static enum status parse_ask(struct exchange *x, struct text lease, bool nameless)
{
    struct fields fields = fields_of_body(x);
    struct lease_ask ask = lease_read_ask(&fields);
    int64_t mode = lease_read_mode(&fields, LEASE_EXCLUSIVE);
    int64_t permits = lease_read_permits(&fields);
    x->command.kind = COMMAND_LEASE_ACQUIRE;
    x->command.lease_acquire = (struct lease_acquire){.name = x->params[0],
                                                      .lease = lease,
                                                      .owner = ask.owner,
                                                      .session = ask.session,
                                                      .metadata = ask.metadata,
                                                      .ttl_ms = ask.ttl_ms,
                                                      .mode = mode,
                                                      .permits = permits,
                                                      .wait_ms = x->wait_ms,
                                                      .lock_delay_ms = ask.lock_delay_ms,
                                                      .async = x->async,
                                                      .condition = UNCONDITIONAL};
    lease_wait_prepare(x, lease, (struct names){&x->params[0], 1}, false, nameless);
    return fields_end(&fields);
}

static enum status parse_put(struct exchange *x)
{
    enum status status = parse_ask(x, x->params[1], false);
    return status != STATUS_OK ? status
                               : exchange_condition(x, &x->command.lease_acquire.condition);
}

/* Ids that grow with time lie side by side in the database. Under an Idempotency-Key the id comes from the key, so
   that a client that lost its answer while it waited finds its place in line again. */
static struct text make_id(struct exchange *x, struct text key)
{
    if (text_given(key)) {
        struct text parts[] = {x->params[0], key};
        struct text digest = digest_of(x->arena, parts, 2);
        digest.len = LEASE_RANDOM_BYTES + 6;
        return text_given(digest) ? base64url_encode(digest, x->arena) : TEXT_ABSENT;
    }
    struct text random = digest_random(x->arena, LEASE_RANDOM_BYTES);
    struct text tail = text_given(random) ? base64url_encode(random, x->arena) : TEXT_ABSENT;
    return arena_format(x->arena, "%011llx-%.*s", (unsigned long long)x->now.now_ms, (int)tail.len,
                        tail.at);
}

static enum status parse_create(struct exchange *x)
{
    struct text key = x->request.header(x->request.source, "Idempotency-Key");
    return parse_ask(x, make_id(x, key), !text_given(key));
}

/* ---- looking, changing -------------------------------------------------------------------------------------------- */

static enum status parse_get(struct exchange *x)
{
    x->command.kind = COMMAND_LEASE_GET;
    x->command.lease_get = (struct lease_key){x->params[0], x->params[1]};
    x->topic = (struct topic){.kind = EVENT_LEASE, .name = x->params[0], .detail = x->params[1]};
    return exchange_watch(x);
}

/* Who looks at a lease that was granted in the line has collected it: the answer waits until that is written down. A
   stale look finds out about the past, and changes nothing. */
static enum next after_get(struct exchange *x)
{
    if (x->command.kind == COMMAND_LEASE_GET && x->result.status == STATUS_OK &&
        x->result.lease.uncollected && x->consistency != CONSISTENCY_STALE) {
        x->command.kind = COMMAND_LEASE_COLLECT;
        x->command.lease_collect = (struct lease_key){x->params[0], x->params[1]};
        return NEXT_COMMIT;
    }
    if (x->result.status == STATUS_LOCK_HELD) { /* gone between the two */
        return exchange_problem(x, STATUS_LEASE_NOT_FOUND);
    }
    return watch_after(x, x->result.shape == SHAPE_LEASE ? x->result.lease.version : ABSENT);
}

static enum next wake_get(struct exchange *x, enum wake why)
{
    x->command.kind = COMMAND_LEASE_GET;
    x->command.lease_get = (struct lease_key){x->params[0], x->params[1]};
    return watch_wake(x, why);
}

static enum status parse_patch(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct lease_patch patch = {.name = x->params[0], .lease = x->params[1]};
    patch.clear_metadata = field_null(&fields, "metadata");
    if (!patch.clear_metadata) {
        patch.metadata_patch = field_object(&fields, "metadata", BODY_BYTES_MAX, false);
    }
    patch.mode = lease_read_mode(&fields, ABSENT);
    fields_absorb(&fields, exchange_condition(x, &patch.condition));
    x->command.kind = COMMAND_LEASE_PATCH;
    x->command.lease_patch = patch;
    return fields_end(&fields);
}

static enum next after_patch(struct exchange *x)
{
    lease_describe(x);
    return NEXT_ANSWER;
}

static enum status parse_renew(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    x->command.kind = COMMAND_LEASE_RENEW;
    struct lease_renew renew = {
        .name = x->params[0], .lease = x->params[1], .ttl_ms = lease_read_ttl(&fields, ABSENT)};
    fields_absorb(&fields, exchange_condition(x, &renew.condition));
    x->command.lease_renew = renew;
    return fields_end(&fields);
}

static enum status parse_release(struct exchange *x)
{
    x->command.kind = COMMAND_LEASE_RELEASE;
    x->command.lease_release = (struct lease_release){x->params[0], x->params[1], UNCONDITIONAL};
    return exchange_condition(x, &x->command.lease_release.condition);
}

static const struct route ROUTES[] = {
    {.method = METHOD_POST,
     .template = "/v1/locks/{name}/leases",
     .operation = "createLease",
     .parse = parse_create,
     .render = render_acquired,
     .explain = lease_explain,
     .after = lease_wait_after,
     .wake = lease_wait_wake,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_PUT,
     .template = "/v1/locks/{name}/leases/{lease}",
     .operation = "putLease",
     .parse = parse_put,
     .render = render_acquired,
     .explain = lease_explain,
     .after = lease_wait_after,
     .wake = lease_wait_wake,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_GET,
     .template = "/v1/locks/{name}/leases/{lease}",
     .operation = "getLease",
     .parse = parse_get,
     .render = render_lease,
     .after = after_get,
     .wake = wake_get,
     .transactional = true},
    {.method = METHOD_PATCH,
     .template = "/v1/locks/{name}/leases/{lease}",
     .operation = "patchLease",
     .parse = parse_patch,
     .render = render_lease,
     .explain = lease_explain,
     .after = after_patch,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_DELETE,
     .template = "/v1/locks/{name}/leases/{lease}",
     .operation = "releaseLease",
     .parse = parse_release,
     .render = render_nothing,
     .transactional = true},
    {.method = METHOD_POST,
     .template = "/v1/locks/{name}/leases/{lease}/renew",
     .operation = "renewLease",
     .parse = parse_renew,
     .render = render_lease,
     .transactional = true,
     .takes_body = true},
};
const struct route_list lease_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
