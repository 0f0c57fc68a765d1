/*
 * What the service says of itself: health, status, metrics, its own description, the ring (API.md §6).
 */
#include "handlers/json_in.h"
#include "handlers/openapi.h"
#include "handlers/problem.h"
#include "handlers/process.h"
#include "handlers/ring.h"
#include "handlers/route.h"
#include "handlers/text_parse.h"

static struct process_status status_of(struct exchange *x)
{
    struct process_status status;
    x->process->status(x->process, &status);
    return status;
}

/* ---- health ------------------------------------------------------------------------------------------------------- */

static void render_livez(struct exchange *x)
{
    exchange_respond(x, 200, TEXT("{\"status\":\"ok\"}"));
}

static void write_check(struct json_out *out, const char *name, bool ok)
{
    out_member_text(out, name, ok ? TEXT("ok") : TEXT("failed"));
}

/* ?verbose: which of the checks it is that holds or fails. */
static void write_checks(struct exchange *x, struct json_out *out)
{
    struct process_status status = status_of(x);
    if (text_given(exchange_parameter(x, "verbose"))) {
        out_key(out, "checks");
        out_open(out, '{');
        write_check(out, "started", status.ready);
        write_check(out, "storage", status.storage_ok);
        write_check(out, "accepting", !status.draining);
        out_close(out, '}');
    }
}

static void render_readyz(struct exchange *x)
{
    struct process_status status = status_of(x);
    bool ready = status.ready && !status.draining && status.storage_ok;
    if (!ready) {
        x->result.status = status.draining      ? STATUS_DRAINING
                           : !status.storage_ok ? STATUS_STORAGE_UNAVAILABLE
                                                : STATUS_STARTING;
        exchange_problem(x, x->result.status);
        return;
    }
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_member_text(&out, "status", TEXT("ok"));
    write_checks(x, &out);
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

/* ---- /v1/status, /metrics ----------------------------------------------------------------------------------------- */

static void write_counts(struct json_out *out, const struct counters *counters)
{
    out_key(out, "counts");
    out_open(out, '{');
    out_member_int(out, "sessions", counters->sessions);
    out_member_int(out, "locks", counters->locks);
    out_member_int(out, "leases_held", counters->held);
    out_member_int(out, "leases_waiting", counters->waiting);
    out_member_int(out, "queues", counters->queues);
    out_member_int(out, "messages_ready", counters->ready);
    out_member_int(out, "messages_delayed", counters->delayed);
    out_member_int(out, "messages_leased", counters->leased);
    out_member_int(out, "messages_dead", counters->dead);
    out_member_int(out, "idempotency_records", counters->idempotency_records);
    out_close(out, '}');
}

static void render_status(struct exchange *x)
{
    struct process_status status = status_of(x);
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_member_text(&out, "version", x->process->version);
    out_member_text(&out, "node", x->process->node);
    out_member_instant(&out, "started_at", status.started_at_ms);
    out_member_int(&out, "uptime_ms", status.uptime_ms);
    out_member_text(&out, "durability", x->process->durability);
    out_member_bool(&out, "ready", status.ready && !status.draining && status.storage_ok);
    out_member_int(&out, "partitions", status.partitions);
    out_member_int(&out, "connections", status.connections);
    out_member_int(&out, "parked_requests", status.parked);
    write_counts(&out, &status.counters);
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

static void render_metrics(struct exchange *x)
{
    exchange_respond(x, 200, x->process->metrics(x->process, x->arena));
    x->response.content_type = "text/plain; version=0.0.4; charset=utf-8";
}

/* ---- descriptions ------------------------------------------------------------------------------------------------- */

static void render_openapi(struct exchange *x)
{
    exchange_respond(x, 200, openapi_document());
    x->response.content_type = "application/yaml";
}

static void render_explanation(struct exchange *x)
{
    enum status status = status_from_code(arena_copy(x->arena, x->params[0]).at);
    if (status == STATUS_COUNT || status_is_ok(status)) {
        exchange_refuse(x, STATUS_NOT_FOUND, NULL, "There is no problem code %.*s.",
                        (int)x->params[0].len, x->params[0].at);
        exchange_problem(x, STATUS_NOT_FOUND);
        return;
    }
    const struct status_info *info = status_info(status);
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_member_text(&out, "code", text_of(info->code));
    out_member_int(&out, "status", info->http);
    out_member_text(&out, "title", text_of(info->title));
    out_member_text(&out, "description", text_of(info->advice));
    out_member_bool(&out, "retryable", info->retryable);
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

/* ---- the ring ----------------------------------------------------------------------------------------------------- */

static bool ring_of(struct exchange *x, struct ring_view *ret)
{
    bool known = x->process->ring(x->process, x->arena, ret);
    if (!known) {
        exchange_problem(x, STATUS_OUT_OF_MEMORY);
    }
    return known;
}

static void write_members(struct json_out *out, const struct ring_view *ring)
{
    out_key(out, "members");
    out_open(out, '[');
    for (size_t i = 0; i < ring->member_count; i++) {
        const struct ring_member *member = &ring->members[i];
        out_open(out, '{');
        out_member_text(out, "id", member->id);
        out_member_text(out, "name", member->name);
        out_member_text(out, "url", member->url);
        out_member_int(out, "weight", member->weight);
        out_member_text(out, "state", member->state);
        out_close(out, '}');
    }
    out_close(out, ']');
}

static void write_place(struct json_out *out, const struct ring_view *ring, int64_t partition)
{
    const struct ring_place *place = &ring->partitions[partition];
    out_member_text(out, "owner", ring->members[place->owner].name);
    out_key(out, "replicas");
    out_open(out, '[');
    for (size_t i = 0; i < place->replica_count; i++) {
        out_text(out, ring->members[place->replicas[i]].name);
    }
    out_close(out, ']');
}

static void write_partitions(struct json_out *out, const struct ring_view *ring)
{
    out_key(out, "partitions");
    out_open(out, '[');
    for (int64_t i = 0; i < ring->partition_count; i++) {
        out_open(out, '{');
        out_member_int(out, "id", i);
        write_place(out, ring, i);
        out_close(out, '}');
    }
    out_close(out, ']');
}

static enum next after_ring(struct exchange *x)
{
    struct ring_view ring;
    return ring_of(x, &ring) ? watch_after(x, ring.epoch) : NEXT_ANSWER;
}

static enum status parse_ring(struct exchange *x)
{
    x->command.kind = COMMAND_TOTALS;
    x->topic = (struct topic){.kind = EVENT_RING};
    return exchange_watch(x);
}

static void render_ring(struct exchange *x)
{
    struct ring_view ring;
    if (!ring_of(x, &ring)) {
        return;
    }
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_member_int(&out, "epoch", ring.epoch);
    out_member_int(&out, "partition_count", ring.partition_count);
    out_member_int(&out, "replica_count", ring.replica_count);
    write_members(&out, &ring);
    write_partitions(&out, &ring);
    out_close(&out, '}');
    exchange_etag(x, ring.epoch);
    exchange_respond(x, 200, out_end(&out));
}

static enum status parse_lookup(struct exchange *x)
{
    struct text name = exchange_parameter(x, "name");
    return text_given(name) && name_valid(name)
               ? STATUS_OK
               : exchange_refuse(x, STATUS_INVALID_PARAMETER, "name",
                                 "name must be 1 to 255 bytes of A-Z a-z 0-9 . _ - ~ : @ + = ,");
}

static void render_lookup(struct exchange *x)
{
    struct ring_view ring;
    if (!ring_of(x, &ring)) {
        return;
    }
    struct text name = exchange_parameter(x, "name");
    struct text key = text_routing_key(name);
    uint64_t hash = ring_hash(key);
    int64_t partition = ring_partition(hash, ring.partition_count);
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_member_text(&out, "name", name);
    out_member_text(&out, "routing_key", key);
    out_member_text(&out, "hash", arena_format(x->arena, "%016llx", (unsigned long long)hash));
    out_member_int(&out, "partition", partition);
    write_place(&out, &ring, partition);
    out_member_text(&out, "url", ring.members[ring.partitions[partition].owner].url);
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

#define LOCAL(path, id, how)                                                                       \
    {.method = METHOD_GET, .template = path, .operation = id, .render = how, .local = true}
static const struct route ROUTES[] = {
    LOCAL("/livez", "getLiveness", render_livez),
    {.method = METHOD_GET,
     .template = "/readyz",
     .operation = "getReadiness",
     .render = render_readyz,
     .explain = write_checks,
     .local = true},
    LOCAL("/metrics", "getMetrics", render_metrics),
    LOCAL("/openapi.yaml", "getOpenapi", render_openapi),
    LOCAL("/problems/{code}", "explainProblem", render_explanation),
    LOCAL("/v1/status", "getStatus", render_status),
    {.method = METHOD_GET,
     .template = "/v1/ring",
     .operation = "getRing",
     .parse = parse_ring,
     .render = render_ring,
     .after = after_ring,
     .wake = watch_wake},
    {.method = METHOD_GET,
     .template = "/v1/ring/lookup",
     .operation = "lookupRing",
     .parse = parse_lookup,
     .render = render_lookup,
     .local = true},
};
const struct route_list system_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
