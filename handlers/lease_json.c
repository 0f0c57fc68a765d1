#include "handlers/lease_json.h"

#include "handlers/text_parse.h"

const char *const lease_modes[] = {"exclusive", "shared", NULL};

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static int64_t left_ms(int64_t until_ms, const struct stamp *now)
{
    return until_ms > now->lease_now_ms ? until_ms - now->lease_now_ms : 0;
}

/* Early enough that two more tries fit in before the lease is lost. */
static int64_t renew_after_ms(const struct lease_view *lease, int64_t expires_in_ms)
{
    int64_t spare_ms = lease->ttl_ms - lease->ttl_ms / 3;
    return expires_in_ms > spare_ms ? expires_in_ms - spare_ms : 0;
}

void lease_write_common(struct json_out *out, const struct lease_view *lease, int64_t expires_ms,
                        const struct stamp *now)
{
    bool held = lease->state == LEASE_HELD;
    out_member_text(out, "state", held ? TEXT("held") : TEXT("waiting"));
    out_member_int(out, "ttl_ms", lease->ttl_ms);
    out_member_int(out, "expires_in_ms", left_ms(expires_ms, now));
    if (held) {
        out_member_int(out, "renew_after_ms", renew_after_ms(lease, left_ms(expires_ms, now)));
    }
    out_member_text_if(out, "session", lease->session);
    out_member_raw(out, "metadata", lease->metadata);
}

static void write_claim(struct json_out *out, const struct lease_view *lease)
{
    out_member_text(out, "owner", lease->owner);
    out_member_text(out, "mode", text_of(lease_modes[lease->mode]));
    out_member_int(out, "permits", lease->permits);
    if (lease->state == LEASE_HELD) {
        out_member_int(out, "fence", lease->fence);
    } else {
        out_member_int(out, "position", lease->position);
    }
}

void lease_write(struct json_out *out, const struct lease_view *lease, const struct stamp *now)
{
    out_open(out, '{');
    out_member_text(out, "lease", lease->lease);
    out_member_text(out, "name", lease->name);
    write_claim(out, lease);
    lease_write_common(out, lease, lease->lease_expires_ms, now);
    out_member_int(out, "version", lease->version);
    out_close(out, '}');
}

void lease_write_list(struct json_out *out, const char *key, const struct lease_views *leases,
                      const struct stamp *now)
{
    out_key(out, key);
    out_open(out, '[');
    for (size_t i = 0; i < leases->count; i++) {
        const struct lease_view *lease = &leases->at[i];
        out_open(out, '{');
        out_member_text(out, "lease", lease->lease);
        write_claim(out, lease);
        out_member_int(out, "expires_in_ms", left_ms(lease->lease_expires_ms, now));
        out_member_text_if(out, "session", lease->session);
        out_member_raw(out, "metadata", lease->metadata);
        out_close(out, '}');
    }
    out_close(out, ']');
}

/* ---- refusals ----------------------------------------------------------------------------------------------------- */

static void write_cycle(struct json_out *out, const struct cycle *cycle)
{
    out_key(out, "cycle");
    out_open(out, '[');
    for (size_t i = 0; i < cycle->count; i++) {
        out_open(out, '{');
        out_member_text(out, "owner", cycle->at[i].owner);
        out_member_text(out, "lock", cycle->at[i].lock);
        out_close(out, '}');
    }
    out_close(out, ']');
}

void lease_explain(struct exchange *x, struct json_out *out)
{
    const struct result *result = &x->result;
    if (result->shape == SHAPE_REFUSAL) {
        const struct lock_view *lock = &result->refusal.lock;
        out_member_text(out, "name", lock->name);
        lease_write_list(out, "holders", &lock->holders, &result->stamp);
        out_member_int(out, "position", result->refusal.position);
        out_member_int(out, "delayed_for_ms", lock->delayed_for_ms);
    } else if (result->shape == SHAPE_CYCLE) {
        write_cycle(out, &result->cycle);
    }
}

static void describe_held(struct exchange *x)
{
    const struct lock_view *lock = &x->result.refusal.lock;
    if (lock->holders.count > 0) {
        const struct lease_view *first = &lock->holders.at[0];
        exchange_refuse(x, STATUS_LOCK_HELD, NULL, "%.*s holds the lock for another %lld ms%s.",
                        (int)first->owner.len, first->owner.at,
                        (long long)left_ms(first->lease_expires_ms, &x->result.stamp),
                        lock->holder_count > 1 ? ", and others do" : "");
    } else if (lock->delayed_for_ms > 0) {
        exchange_refuse(x, STATUS_LOCK_HELD, NULL,
                        "A holder was lost, and the lock stays shut for another %lld ms.",
                        (long long)lock->delayed_for_ms);
    }
}

static void describe_deadlock(struct exchange *x)
{
    const struct cycle *cycle = &x->result.cycle;
    if (cycle->count > 0) {
        const struct cycle_edge *first = &cycle->at[0], *last = &cycle->at[cycle->count - 1];
        exchange_refuse(x, STATUS_DEADLOCK, NULL,
                        "%.*s would wait for %.*s; that leads to %.*s, who waits for %.*s, where "
                        "%.*s is in the way.",
                        (int)first->owner.len, first->owner.at, (int)first->lock.len,
                        first->lock.at, (int)last->owner.len, last->owner.at, (int)last->lock.len,
                        last->lock.at, (int)first->owner.len, first->owner.at);
    }
}

void lease_describe(struct exchange *x)
{
    if (x->result.shape == SHAPE_REFUSAL) {
        describe_held(x);
    } else if (x->result.shape == SHAPE_CYCLE) {
        describe_deadlock(x);
    } else if (x->result.status == STATUS_BODY_TOO_LARGE) {
        exchange_refuse(x, STATUS_BODY_TOO_LARGE, "metadata",
                        "The merged metadata would take more than %d bytes as compact JSON.",
                        LEASE_METADATA_BYTES_MAX);
    }
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

int64_t lease_read_mode(struct fields *fields, int64_t otherwise)
{
    return field_choice(fields, "mode", lease_modes, otherwise);
}

int64_t lease_read_permits(struct fields *fields)
{
    return field_int(fields, "permits", 1, LOCK_LIMIT_MAX, 1);
}

int64_t lease_read_ttl(struct fields *fields, int64_t otherwise)
{
    return field_int(fields, "ttl_ms", 1, TTL_MS_MAX, otherwise);
}

struct lease_ask lease_read_ask(struct fields *fields)
{
    struct exchange *x = fields->x;
    struct text prefer = x->request.header(x->request.source, "Prefer");
    struct lease_ask ask = {
        .owner = field_text(fields, "owner", 1, OWNER_BYTES_MAX, true),
        .session = field_name(fields, "session", false),
        .metadata = field_object(fields, "metadata", LEASE_METADATA_BYTES_MAX, false),
        .ttl_ms = lease_read_ttl(fields, TTL_MS_DEFAULT),
        .lock_delay_ms = field_int(fields, "lock_delay_ms", 0, LOCK_DELAY_MS_MAX, ABSENT)};
    if (!text_given(ask.metadata)) {
        ask.metadata = TEXT("{}");
    }
    x->wait_ms = field_int(fields, "wait_ms", 0, WAIT_MS_MAX, 0);
    x->async = text_given(prefer) && text_given(parse_preference(prefer, "respond-async"));
    return ask;
}
