/*
 * Locks over HTTP (API.md §3): looking at them, configuring, listing and breaking them, checking fences.
 */
#include "handlers/lease_json.h"
#include "handlers/route.h"
#include "handlers/text_parse.h"

/* ---- answers ------------------------------------------------------------------------------------------------------ */

static void write_lock(struct json_out *out, const struct lock_view *lock, const struct stamp *now)
{
    out_open(out, '{');
    out_member_text(out, "name", lock->name);
    out_member_int(out, "limit", lock->limit);
    out_member_int(out, "lock_delay_ms", lock->lock_delay_ms);
    out_member_int(out, "version", lock->version);
    out_member_int(out, "fence", lock->fence);
    out_member_int(out, "holder_count", lock->holder_count);
    out_member_int(out, "waiter_count", lock->waiter_count);
    lease_write_list(out, "holders", &lock->holders, now);
    lease_write_list(out, "waiters", &lock->waiters, now);
    out_member_int(out, "delayed_for_ms", lock->delayed_for_ms);
    out_close(out, '}');
}

static void render_lock(struct exchange *x)
{
    const struct lock_view *lock = &x->result.lock;
    struct json_out out = out_begin(x->arena);
    write_lock(&out, lock, &x->result.stamp);
    exchange_etag(x, lock->version);
    if (x->result.status == STATUS_CREATED) {
        exchange_header(
            x, "Location",
            arena_format(x->arena, "/v1/locks/%.*s", (int)lock->name.len, lock->name.at));
    }
    exchange_respond(x, status_info(x->result.status)->http, out_end(&out));
}

static void render_list(struct exchange *x)
{
    const struct lock_page *page = &x->result.locks;
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_key(&out, "items");
    out_open(&out, '[');
    for (size_t i = 0; i < page->items.count; i++) {
        write_lock(&out, &page->items.at[i], &x->result.stamp);
    }
    out_close(&out, ']');
    out_member_text_if(&out, "next_cursor", exchange_cursor(x, page->next));
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

static void render_released(struct exchange *x)
{
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_member_int(&out, "released", x->result.count);
    out_close(&out, '}');
    exchange_respond(x, 200, out_end(&out));
}

static void render_nothing(struct exchange *x)
{
    exchange_respond(x, 204, TEXT_ABSENT);
}

/* ---- requests ----------------------------------------------------------------------------------------------------- */

/* A query parameter of 1 to `max` bytes of any text. */
static enum status read_words(struct exchange *x, const char *name, size_t max, struct text *ret)
{
    *ret = exchange_parameter(x, name);
    if (text_given(*ret) && (ret->len == 0 || ret->len > max || !utf8_valid(*ret))) {
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, name,
                               "%s must be 1 to %zu bytes of UTF-8.", name, max);
    }
    return STATUS_OK;
}

static enum status parse_list(struct exchange *x)
{
    struct lock_list *list = &x->command.lock_list;
    x->command.kind = COMMAND_LOCK_LIST;
    list->prefix = exchange_parameter(x, "prefix");
    if (text_given(list->prefix) && list->prefix.len > 0 && !name_valid(list->prefix)) {
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, "prefix",
                               "prefix must be the beginning of a name.");
    }
    enum status status = read_words(x, "owner", OWNER_BYTES_MAX, &list->owner);
    return status != STATUS_OK ? status : exchange_page(x, &list->page);
}

static enum status parse_get(struct exchange *x)
{
    x->command.kind = COMMAND_LOCK_GET;
    x->command.lock_get = (struct lock_key){x->params[0]};
    x->topic = (struct topic){.kind = EVENT_LOCK, .name = x->params[0]};
    return exchange_watch(x);
}

static enum next after_get(struct exchange *x)
{
    return watch_after(x, x->result.lock.version);
}

static enum status parse_put(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct lock_put put = {.name = x->params[0],
                           .limit = field_int(&fields, "limit", 1, LOCK_LIMIT_MAX, 1),
                           .lock_delay_ms =
                               field_int(&fields, "lock_delay_ms", 0, LOCK_DELAY_MS_MAX, 0)};
    fields_absorb(&fields, exchange_condition(x, &put.condition));
    x->command.kind = COMMAND_LOCK_PUT;
    x->command.lock_put = put;
    return fields_end(&fields);
}

static enum status parse_break(struct exchange *x)
{
    struct lock_break *command = &x->command.lock_break;
    x->command.kind = COMMAND_LOCK_BREAK;
    command->name = x->params[0];
    enum status status = read_words(x, "reason", REASON_BYTES_MAX, &command->reason);
    if (status == STATUS_OK) {
        status = exchange_parameter_int(x, "lock_delay_ms", 0, LOCK_DELAY_MS_MAX, ABSENT,
                                        &command->lock_delay_ms);
    }
    return status != STATUS_OK ? status : exchange_condition(x, &command->condition);
}

static enum status parse_fence(struct exchange *x)
{
    int64_t fence;
    if (!parse_decimal(x->params[1], &fence) || fence < 1) {
        return exchange_refuse(x, STATUS_INVALID_PARAMETER, "fence",
                               "A fence is an integer of 1 or more.");
    }
    x->command.kind = COMMAND_FENCE_CHECK;
    x->command.fence_check = (struct fence_check){x->params[0], fence};
    return STATUS_OK;
}

static enum next after_fence(struct exchange *x)
{
    if (x->result.status == STATUS_STALE_FENCE) {
        exchange_refuse(x, STATUS_STALE_FENCE, NULL, "The newest fence of the lock is %lld.",
                        (long long)x->result.version);
    }
    return NEXT_ANSWER;
}

static const struct route ROUTES[] = {
    {.method = METHOD_GET,
     .template = "/v1/locks",
     .operation = "listLocks",
     .parse = parse_list,
     .render = render_list},
    {.method = METHOD_GET,
     .template = "/v1/locks/{name}",
     .operation = "getLock",
     .parse = parse_get,
     .render = render_lock,
     .after = after_get,
     .wake = watch_wake,
     .transactional = true},
    {.method = METHOD_PUT,
     .template = "/v1/locks/{name}",
     .operation = "putLock",
     .parse = parse_put,
     .render = render_lock,
     .transactional = true,
     .takes_body = true},
    {.method = METHOD_DELETE,
     .template = "/v1/locks/{name}/leases",
     .operation = "breakLock",
     .parse = parse_break,
     .render = render_released,
     .transactional = true},
    {.method = METHOD_GET,
     .template = "/v1/locks/{name}/fences/{fence}",
     .operation = "checkFence",
     .parse = parse_fence,
     .render = render_nothing,
     .after = after_fence,
     .transactional = true},
};
const struct route_list lock_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
