/*
 * Lock-sets over HTTP (API.md §3): several locks acquired under one lease id, all or none.
 */
#include "handlers/lease_json.h"
#include "handlers/lease_wait.h"
#include "handlers/route.h"

static void write_members(struct json_out *out, const struct lease_views *members)
{
    out_key(out, "locks");
    out_open(out, '[');
    for (size_t i = 0; i < members->count; i++) {
        const struct lease_view *member = &members->at[i];
        bool held = member->state == LEASE_HELD;
        out_open(out, '{');
        out_member_text(out, "name", member->name);
        out_member_text(out, "mode", text_of(lease_modes[member->mode]));
        out_member_int(out, "permits", member->permits);
        out_member_int(out, held ? "fence" : "position", held ? member->fence : member->position);
        out_member_int(out, "version", member->version);
        out_close(out, '}');
    }
    out_close(out, ']');
}

/* The set is whole as long as the member that ends first: they may have been renewed one by one. */
static int64_t first_end_ms(const struct lease_views *members)
{
    int64_t first = members->at[0].lease_expires_ms;
    for (size_t i = 1; i < members->count; i++) {
        int64_t end = members->at[i].lease_expires_ms;
        first = end < first ? end : first;
    }
    return first;
}

/* A set has changed when one of its members has. */
static int64_t newest_version(const struct lease_views *members)
{
    int64_t newest = 0;
    for (size_t i = 0; i < members->count; i++) {
        newest = members->at[i].version > newest ? members->at[i].version : newest;
    }
    return newest;
}

static void render(struct exchange *x)
{
    const struct lease_views *members = &x->result.lock_set.members;
    const struct lease_view *first = &members->at[0];
    int64_t version = newest_version(members);
    struct json_out out = out_begin(x->arena);
    out_open(&out, '{');
    out_member_text(&out, "lease", first->lease);
    out_member_text(&out, "owner", first->owner);
    lease_write_common(&out, first, first_end_ms(members), &x->result.stamp);
    write_members(&out, members);
    out_member_int(&out, "version", version);
    out_close(&out, '}');
    exchange_etag(x, version);
    exchange_respond(x, status_info(x->result.status)->http, out_end(&out));
}

/* One element of `locks`. */
static enum status parse_member(const struct fields *parent, size_t index, const struct json *value,
                                struct lock_set_member *ret)
{
    struct fields fields = fields_of_item(parent, "locks", (long)index, value);
    *ret = (struct lock_set_member){.name = field_name(&fields, "name", true),
                                    .mode = lease_read_mode(&fields, LEASE_EXCLUSIVE),
                                    .permits = lease_read_permits(&fields)};
    return fields_end(&fields);
}

/* Reads the members, and their names apart for those commands that need no more. */
static void parse_members(struct fields *fields, struct lock_set_members *ret_members,
                          struct names *ret_names)
{
    struct arena *arena = fields->x->arena;
    const struct json *list = field_list(fields, "locks", 1, LOCK_SET_MAX, true);
    if (list == NULL) {
        return;
    }
    size_t count = json_count(list), i = 0;
    struct lock_set_member *members = arena_zalloc(arena, count, sizeof *members);
    struct text *names = arena_zalloc(arena, count, sizeof *names);
    if (members == NULL || names == NULL) {
        fields_absorb(fields, STATUS_OUT_OF_MEMORY);
        return;
    }
    for (const struct json *one = json_first(list); one != NULL; one = json_next(one), i++) {
        fields_absorb(fields, parse_member(fields, i, one, &members[i]));
        names[i] = members[i].name;
    }
    *ret_members = (struct lock_set_members){members, count};
    *ret_names = (struct names){names, count};
}

static void refuse_strangers(struct fields *fields, const struct names *names)
{
    for (size_t i = 0; i < names->count && fields->status == STATUS_OK; i++) {
        if (!text_equal(text_routing_key(names->at[i]), text_routing_key(names->at[0]))) {
            field_refuse(fields, STATUS_CROSS_PARTITION, "locks",
                         "must have one routing key: the part of each name before its first ~.");
        }
        for (size_t j = 0; j < i; j++) {
            if (text_equal(names->at[i], names->at[j])) {
                field_refuse(fields, STATUS_INVALID_FIELD, "locks", "must name each lock once.");
            }
        }
    }
}

static enum status parse(struct exchange *x)
{
    struct fields fields = fields_of_body(x);
    struct lock_set_members members = {NULL, 0};
    struct names names = {NULL, 0};
    struct lease_ask ask = lease_read_ask(&fields);
    parse_members(&fields, &members, &names);
    refuse_strangers(&fields, &names);
    enum status status = fields_end(&fields);
    if (status != STATUS_OK) {
        return status;
    }
    x->routing_key = text_routing_key(names.at[0]);
    x->command.kind = COMMAND_LOCK_SET_ACQUIRE;
    x->command.lock_set_acquire = (struct lock_set_acquire){.lease = x->params[0],
                                                            .owner = ask.owner,
                                                            .session = ask.session,
                                                            .metadata = ask.metadata,
                                                            .ttl_ms = ask.ttl_ms,
                                                            .wait_ms = x->wait_ms,
                                                            .lock_delay_ms = ask.lock_delay_ms,
                                                            .locks = members,
                                                            .async = x->async,
                                                            .condition = UNCONDITIONAL};
    lease_wait_prepare(x, x->params[0], names, true, false);
    return exchange_condition(x, &x->command.lock_set_acquire.condition);
}

static const struct route ROUTES[] = {{.method = METHOD_PUT,
                                       .template = "/v1/lock-sets/{lease}",
                                       .operation = "putLockSet",
                                       .parse = parse,
                                       .render = render,
                                       .explain = lease_explain,
                                       .after = lease_wait_after,
                                       .wake = lease_wait_wake,
                                       .transactional = true,
                                       .takes_body = true}};
const struct route_list lock_set_routes = {ROUTES, sizeof ROUTES / sizeof ROUTES[0]};
