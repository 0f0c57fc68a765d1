/*
 * Queues over HTTP (API.md §4): configuration, lists, deletion, and what concerns all of a queue's messages. The
 * messages themselves are in messages.c.
 */
#include "db/queues.h"

#include "handlers/json_in.h"
#include "handlers/messages.h"
#include "handlers/process.h"
#include "handlers/route.h"
#include "handlers/text_parse.h"

enum { BACKOFF_FACTOR_MAX = 100 };

/* In the order of enum routing. */
static const char *const ROUTINGS[] = {"hash", "round_robin", "least_loaded", NULL};

/* ---- answers ------------------------------------------------------------------------------------------------------ */

/* Members of a number in thousandths, without the zeros at its end. */
static void write_milli(struct json_out *out, const char *key, int64_t milli)
{
    out_member_raw(out, key, arena_format(out->arena, "%g", (double)milli / 1000));
}

static void write_limits(struct json_out *out, const struct queue_config *config)
{
    if (config->max_depth > 0) {
        out_member_int(out, "max_depth", config->max_depth);
    }
    out_key(out, "backoff");
    out_open(out, '{');
    out_member_int(out, "base_ms", config->backoff_base_ms);
    write_milli(out, "factor", config->backoff_factor_milli);
    out_member_int(out, "max_ms", config->backoff_max_ms);
    out_close(out, '}');
    if (config->rate_per_s > 0) {
        out_key(out, "rate");
        out_open(out, '{');
        out_member_int(out, "per_s", config->rate_per_s);
        out_member_int(out, "burst", queue_burst(config));
        out_close(out, '}');
    }
}

/* What a list over all partitions adds up by; who makes one takes it out again (gather.h). */
static void write_shard(struct json_out *out, const struct queue_view *queue)
{
    if (queue->spread > 1) {
        out_member_int(out, "shard", queue->shard);
        out_member_int(out, "born", queue->born);
    }
}

static void write_queue(struct json_out *out, const struct queue_view *queue, bool marked)
{
    const struct queue_config *config = &queue->config;
    out_open(out, '{');
    out_member_text(out, "name", queue->name);
    out_member_int(out, "version", queue->version);
    out_member_instant(out, "created_at", queue->created_at_ms);
    out_member_int(out, "lease_ms", config->lease_ms);
    out_member_int(out, "max_attempts", config->max_attempts);
    out_member_int(out, "retention_ms", config->retention_ms);
    out_member_int(out, "delay_ms", config->delay_ms);
    out_member_int(out, "dedup_window_ms", config->dedup_window_ms);
    write_limits(out, config);
    out_member_int(out, "group_concurrency", config->group_concurrency);
    if (config->dead_letter.len > 0) {
        out_member_text(out, "dead_letter", config->dead_letter);
    }
    out_member_bool(out, "paused", config->paused != 0);
    out_member_int(out, "shards", config->shards == ABSENT ? 1 : config->shards);
    out_member_text(out, "routing",
                    text_of(ROUTINGS[config->routing == ABSENT ? 0 : config->routing]));
    out_member_int(out, "ready", queue->ready);
    out_member_int(out, "delayed", queue->delayed);
    out_member_int(out, "leased", queue->leased);
    out_member_int(out, "dead", queue->dead);
    out_member_int(out, "oldest_age_ms", queue->oldest_age_ms);
    if (marked) {
        write_shard(out, queue);
    }
    out_close(out, '}');
}

static void render_queue(struct exchange *x)
{
    const struct queue_view *queue = &x->result.queue;
    struct json_out out = out_begin(x->arena);
    write_queue(&out, queue, false);
    exchange_etag(x, queue->version);
    if (x->result.status == STATUS_CREATED) {
        exchange_header(
            x, "Location",
            arena_format(x->arena, "/v1/queues/%.*s", (int)queue->name.len, queue->name.at));
    }
    exchange_respond(x, status_info(x->result.status)->http, out_end(&out));
}

static void render_nothing(struct exchange *x)
{
    exchange_respond(x, 204, TEXT_ABSENT);
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static enum status parse_get(struct exchange *x)
{
    x->command.kind = COMMAND_QUEUE_GET;
    x->command.queue_get.name = x->params[0];
    x->topic = (struct topic){.kind = EVENT_QUEUE, .name = x->params[0]};
    return exchange_watch(x);
}

static enum next after_get(struct exchange *x)
{
    return watch_after(x, status_is_ok(x->result.status) ? x->result.queue.version : ABSENT);
}

static enum status parse_list(struct exchange *x)
{
    struct text prefix = exchange_parameter(x, "prefix");
    if (text_given(prefix) && !name_valid(prefix)) {
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, "prefix",
                               "prefix must be the beginning of a name, at least one byte.");
    }
    x->command.kind = COMMAND_QUEUE_LIST;
    x->command.queue_list.prefix = prefix;
    return exchange_page(x, &x->command.queue_list.page);
}

static void render_list(struct exchange *x)
{
    const struct queue_page *page = &x->result.queues;
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_key(&out, "items");
    out_open(&out, '[');
    for (size_t i = 0; i < page->items.count; i++) {
        write_queue(&out, &page->items.at[i], true);
    }
    out_close(&out, ']');
    out_member_text_if(&out, "next_cursor", exchange_cursor(x, page->next));
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

/* ---- configuring -------------------------------------------------------------------------------------------------- */

/* One setting. PUT: the default where it is missing. PATCH (RFC 7396): ABSENT where it is missing, the default where it
   is null. */
static int64_t setting(struct fields *fields, const char *name, int64_t min, int64_t max,
                       int64_t standard, bool patch)
{
    if (patch && field_null(fields, name)) {
        return standard;
    }
    return field_int(fields, name, min, max, patch ? ABSENT : standard);
}

static int64_t factor(struct fields *fields, int64_t standard, bool patch)
{
    if (patch && field_null(fields, "factor")) {
        return standard;
    }
    return field_milli(fields, "factor", 1, BACKOFF_FACTOR_MAX, patch ? ABSENT : standard);
}

static void read_backoff(struct fields *fields, struct queue_config *config, bool patch)
{
    const struct queue_config standard = queue_config_default();
    config->backoff_base_ms = patch ? ABSENT : standard.backoff_base_ms;
    config->backoff_factor_milli = patch ? ABSENT : standard.backoff_factor_milli;
    config->backoff_max_ms = patch ? ABSENT : standard.backoff_max_ms;
    if (patch && field_null(fields, "backoff")) {
        config->backoff_base_ms = standard.backoff_base_ms;
        config->backoff_factor_milli = standard.backoff_factor_milli;
        config->backoff_max_ms = standard.backoff_max_ms;
        return;
    }
    const struct json *value = field_nested(fields, "backoff");
    if (value != NULL) {
        struct fields inner = fields_of_item(fields, "backoff", -1, value);
        config->backoff_base_ms =
            setting(&inner, "base_ms", 0, BACKOFF_MS_MAX, standard.backoff_base_ms, patch);
        config->backoff_factor_milli = factor(&inner, standard.backoff_factor_milli, patch);
        config->backoff_max_ms =
            setting(&inner, "max_ms", 0, BACKOFF_MS_MAX, standard.backoff_max_ms, patch);
        fields_absorb(fields, fields_end(&inner));
    }
}

/* A rate of 0 is none; a burst of 0 is one of as many as per_s. */
static void read_rate(struct fields *fields, struct queue_config *config, bool patch)
{
    config->rate_per_s = config->rate_burst = patch ? ABSENT : 0;
    if (patch && field_null(fields, "rate")) {
        config->rate_per_s = config->rate_burst = 0;
        return;
    }
    const struct json *value = field_nested(fields, "rate");
    if (value != NULL) {
        struct fields inner = fields_of_item(fields, "rate", -1, value);
        config->rate_per_s =
            field_int(&inner, "per_s", 1, RATE_PER_S_MAX, patch ? ABSENT : REQUIRED);
        config->rate_burst = setting(&inner, "burst", 1, RATE_BURST_MAX, 0, patch);
        fields_absorb(fields, fields_end(&inner));
    }
}

static void read_paused(struct fields *fields, struct queue_config *config, bool patch)
{
    bool given = field_given(fields, "paused");
    if (patch && field_null(fields, "paused")) {
        config->paused = 0;
    } else {
        bool paused = field_flag(fields, "paused", false);
        config->paused = patch && !given ? ABSENT : paused;
    }
}

static void read_dead_letter(struct fields *fields, struct queue_config *config, bool patch)
{
    bool none = patch && field_null(fields, "dead_letter");
    struct text name = none ? TEXT("") : field_name(fields, "dead_letter", false);
    config->dead_letter = text_given(name) || patch ? name : TEXT("");
}

static void read_shards(struct fields *fields, struct queue_config *config, bool patch)
{
    config->shards = setting(fields, "shards", 1, SHARDS_MAX, 1, patch);
    bool none = patch && !field_given(fields, "routing");
    if (patch && field_null(fields, "routing")) {
        config->routing = ROUTING_HASH;
    } else {
        int64_t routing = field_choice(fields, "routing", ROUTINGS, ROUTING_HASH);
        config->routing = none ? ABSENT : routing;
    }
}

static enum status parse_config(struct exchange *x, enum command_kind kind)
{
    bool patch = kind == COMMAND_QUEUE_PATCH;
    struct fields fields = fields_of_body(x);
    struct queue_put put = {.name = x->params[0]};
    struct queue_config *config = &put.config;
    const struct queue_config standard = queue_config_default();
    config->lease_ms =
        setting(&fields, "lease_ms", 1, MESSAGE_LEASE_MS_MAX, standard.lease_ms, patch);
    config->max_attempts =
        setting(&fields, "max_attempts", 0, MAX_ATTEMPTS_MAX, standard.max_attempts, patch);
    config->retention_ms =
        setting(&fields, "retention_ms", 1, RETENTION_MS_MAX, standard.retention_ms, patch);
    config->delay_ms =
        setting(&fields, "delay_ms", 0, MESSAGE_DELAY_MS_MAX, standard.delay_ms, patch);
    config->dedup_window_ms = setting(&fields, "dedup_window_ms", 0, DEDUP_WINDOW_MS_MAX,
                                      standard.dedup_window_ms, patch);
    config->max_depth = setting(&fields, "max_depth", 1, MAX_DEPTH_MAX, standard.max_depth, patch);
    config->group_concurrency = setting(&fields, "group_concurrency", 1, GROUP_CONCURRENCY_MAX,
                                        standard.group_concurrency, patch);
    read_backoff(&fields, config, patch);
    read_rate(&fields, config, patch);
    read_paused(&fields, config, patch);
    read_dead_letter(&fields, config, patch);
    read_shards(&fields, config, patch);
    put.partitions = x->process->partitions;
    put.sealed = ABSENT;
    fields_absorb(&fields, exchange_condition(x, &put.condition));
    x->command.kind = kind;
    x->command.queue_put = put;
    return fields_end(&fields);
}

static enum status parse_put(struct exchange *x)
{
    return parse_config(x, COMMAND_QUEUE_PUT);
}

static enum status parse_patch(struct exchange *x)
{
    return parse_config(x, COMMAND_QUEUE_PATCH);
}

/* Refusals that are of a queue with shards alone say more than their status does. */
static void explain_shards(struct exchange *x)
{
    enum status status = x->result.status;
    if (status == STATUS_INVALID_FIELD) {
        exchange_refuse(x, status, NULL,
                        "Each shard has its share of max_depth and of rate.burst: both must be at "
                        "least shards.");
    } else if (status == STATUS_QUEUE_NOT_EMPTY && text_equal(x->result.field, TEXT("shards"))) {
        exchange_refuse(
            x, status, "shards",
            "The number of shards can change while no message that has a group or a "
            "dedup_id is in the queue, and no dedup_id is remembered; shards that are to "
            "go must be empty.");
    } else if (status == STATUS_INVALID_DEAD_LETTER) {
        exchange_refuse(
            x, status, NULL,
            "Name another queue, one that does not lead back to this one, and has as many "
            "shards.");
    }
}

static enum next after_config(struct exchange *x)
{
    explain_shards(x);
    if (x->result.status == STATUS_MISSING_FIELD) {
        exchange_refuse(x, STATUS_MISSING_FIELD, "rate.per_s",
                        "rate.per_s is required: the queue has no rate yet.");
    }
    return NEXT_ANSWER;
}

static enum status parse_delete(struct exchange *x)
{
    struct text if_empty = exchange_parameter(x, "if_empty");
    bool yes = text_given(if_empty) && text_equal(if_empty, TEXT("true"));
    if (text_given(if_empty) && !yes && !text_equal(if_empty, TEXT("false"))) {
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, "if_empty",
                               "if_empty must be true or false.");
    }
    x->command.kind = COMMAND_QUEUE_DELETE;
    x->command.queue_delete.name = x->params[0];
    x->command.queue_delete.if_empty = yes;
    x->command.queue_delete.sealed = ABSENT;
    return exchange_condition(x, &x->command.queue_delete.condition);
}

/* ---- many messages at once ---------------------------------------------------------------------------------------- */

/*
 * A purge of one state, and a redrive, go in several commands of QUEUE_STEPS_MAX messages each, so that none of them
 * keeps other requests waiting for long; the answer is the sum. Where the request must be one command, because it is
 * part of a transaction or its result is kept for its Idempotency-Key, it is one, however long that takes.
 */
struct bulk {
    int64_t left;  /* messages to go at most; ABSENT: all there are */
    int64_t done;  /* by the commands before */
    int64_t *step; /* the command's own max */
};

int64_t bulk_max(const struct exchange *x)
{
    const struct bulk *bulk = x->scratch;
    return bulk != NULL                             ? bulk->left
           : x->command.kind == COMMAND_QUEUE_PURGE ? x->command.queue_purge.max
                                                    : x->command.queue_redrive.max;
}

static void next_step(struct bulk *bulk)
{
    bool last = bulk->left != ABSENT && bulk->left < QUEUE_STEPS_MAX;
    *bulk->step = last ? bulk->left : QUEUE_STEPS_MAX;
}

static void begin_bulk(struct exchange *x, int64_t max, int64_t *step)
{
    *step = max;
    if (x->in_transaction || text_given(x->request.header(x->request.source, "Idempotency-Key"))) {
        return;
    }
    struct bulk *bulk = arena_zalloc(x->arena, 1, sizeof *bulk);
    if (bulk != NULL) {
        *bulk = (struct bulk){.left = max, .step = step};
        next_step(bulk);
        x->scratch = bulk;
    }
}

static enum next after_bulk(struct exchange *x)
{
    struct bulk *bulk = x->scratch;
    if (bulk == NULL) {
        return NEXT_ANSWER;
    }
    if (x->result.status == STATUS_QUEUE_NOT_FOUND && bulk->done > 0) {
        x->result.status = STATUS_OK; /* deleted meanwhile: nothing is left to do */
        x->result.count = 0;
    }
    bool more = x->result.status == STATUS_OK && x->result.count == *bulk->step;
    bulk->done += x->result.count;
    bulk->left -= bulk->left == ABSENT ? 0 : x->result.count;
    if (more && bulk->left != 0) {
        next_step(bulk);
        return NEXT_COMMIT;
    }
    x->result.count = bulk->done;
    return NEXT_ANSWER;
}

static void respond_count(struct exchange *x, const char *key)
{
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_member_int(&out, key, x->result.count);
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

static enum status parse_purge(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct queue_purge *purge = &x->command.queue_purge;
    purge->queue = x->params[0];
    /* The choices begin with the first state; a missing one is MESSAGE_ANY. */
    purge->state = field_choice(&fields, "state", message_states, -1) + MESSAGE_READY;
    purge->max = ABSENT;
    x->command.kind = COMMAND_QUEUE_PURGE;
    if (purge->state != MESSAGE_ANY) { /* all of them are one step anyway */
        begin_bulk(x, ABSENT, &purge->max);
    }
    return fields_end(&fields);
}

static void render_purged(struct exchange *x)
{
    respond_count(x, "purged");
}

/* Ids of no message, whatever they look like, are passed over as those of a message that is not dead. */
static void read_ids(struct fields *fields, const struct json *list, struct queue_redrive *redrive)
{
    int64_t *ids = arena_zalloc(fields->x->arena, json_count(list), sizeof *ids);
    const struct json *id = ids == NULL ? NULL : json_first(list);
    for (; id != NULL; id = json_next(id)) {
        if (!json_is(id, JSON_KIND_STRING)) {
            field_refuse(fields, STATUS_INVALID_FIELD, "ids", "must be a list of strings.");
            return;
        }
        redrive->ids.count += parse_decimal(json_text(id), &ids[redrive->ids.count]);
    }
    redrive->by_id = true;
    redrive->ids.at = ids;
}

static enum status parse_redrive(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct queue_redrive *redrive = &x->command.queue_redrive;
    redrive->queue = x->params[0];
    redrive->max = field_int(&fields, "max", 1, MAX_DEPTH_MAX, ABSENT);
    const struct json *ids = field_list(&fields, "ids", 1, MESSAGES_PER_REQUEST_MAX, false);
    x->command.kind = COMMAND_QUEUE_REDRIVE;
    if (ids != NULL) {
        read_ids(&fields, ids, redrive);
    } else {
        begin_bulk(x, redrive->max, &redrive->max);
    }
    return fields_end(&fields);
}

static void render_redriven(struct exchange *x)
{
    respond_count(x, "redriven");
}

static const struct route ROUTES[] = {
    {.method = METHOD_GET,
     .template = "/v1/queues",
     .operation = "listQueues",
     .parse = parse_list,
     .render = render_list},
    {.method = METHOD_GET,
     .template = "/v1/queues/{queue}",
     .operation = "getQueue",
     .parse = parse_get,
     .render = render_queue,
     .after = after_get,
     .wake = watch_wake,
     .transactional = true},
    {.method = METHOD_PUT,
     .template = "/v1/queues/{queue}",
     .operation = "putQueue",
     .parse = parse_put,
     .render = render_queue,
     .after = after_config,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_PATCH,
     .template = "/v1/queues/{queue}",
     .operation = "patchQueue",
     .parse = parse_patch,
     .render = render_queue,
     .after = after_config,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_DELETE,
     .template = "/v1/queues/{queue}",
     .operation = "deleteQueue",
     .parse = parse_delete,
     .render = render_nothing,
     .transactional = true},
    {.method = METHOD_POST,
     .template = "/v1/queues/{queue}/purge",
     .operation = "purgeQueue",
     .parse = parse_purge,
     .render = render_purged,
     .after = after_bulk,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_POST,
     .template = "/v1/queues/{queue}/redrive",
     .operation = "redriveQueue",
     .parse = parse_redrive,
     .render = render_redriven,
     .after = after_bulk,
     .transactional = true,
     .takes_body = true},
};
const struct route_list queue_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
