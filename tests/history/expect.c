#include "tests/history/expect.h"

#include "tests/history/model.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

struct difference {
    char *text;
    size_t room;
};

static bool differ(const struct difference *d, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool differ(const struct difference *d, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(d->text, d->room, format, args);
    va_end(args);
    return false;
}

/* Puts the place in front of the difference that was found there. */
static bool inside(const struct difference *d, bool same, const char *place, size_t at)
{
    char inner[400];
    if (!same) {
        snprintf(inner, sizeof inner, "%s", d->text);
        snprintf(d->text, d->room, "%s[%zu]: %s", place, at, inner);
    }
    return same;
}

static bool same_int(const struct difference *d, const char *name, int64_t want, int64_t got)
{
    return want == UNKNOWN || want == got ||
           differ(d, "%s is %lld, not %lld", name, (long long)got, (long long)want);
}

static bool same_text(const struct difference *d, const char *name, struct text want,
                      struct text got)
{
    return (text_given(want) == text_given(got) && text_equal(want, got)) ||
           differ(d, "%s is %.*s, not %.*s", name, text_given(got) ? (int)got.len : 6,
                  text_given(got) ? got.at : "absent", text_given(want) ? (int)want.len : 6,
                  text_given(want) ? want.at : "absent");
}

static bool same_json(const struct difference *d, const char *name, struct text want,
                      struct text got)
{
    if (!text_given(want) || !text_given(got) || text_equal(want, got)) {
        return same_text(d, name, want, got);
    }
    json_auto_t *a = json_loadb(want.at, want.len, 0, NULL);
    json_auto_t *b = json_loadb(got.at, got.len, 0, NULL);
    return (a != NULL && b != NULL && json_equal(a, b)) || same_text(d, name, want, got);
}

#define INT(field) same_int(d, #field, want->field, got->field)
#define TEXT_(field) same_text(d, #field, want->field, got->field)
#define JSON(field) same_json(d, #field, want->field, got->field)

static bool same_session(const struct difference *d, const struct session_view *want,
                         const struct session_view *got)
{
    return TEXT_(id) && TEXT_(subject) && JSON(data) && INT(version) && INT(created_at_ms) &&
           INT(last_seen_at_ms) && INT(idle_ttl_ms) && INT(max_ttl_ms) && INT(expires_at_ms) &&
           INT(max_expires_at_ms);
}

static bool same_lease(const struct difference *d, const struct lease_view *want,
                       const struct lease_view *got)
{
    return TEXT_(lease) && TEXT_(name) && TEXT_(owner) && TEXT_(session) && JSON(metadata) &&
           INT(mode) && INT(permits) && INT(state) && INT(fence) && INT(ttl_ms) &&
           INT(lease_expires_ms) && INT(position) && INT(ticket) && INT(version) &&
           INT(uncollected);
}

static const struct lease_view *lease_named(const struct lease_views *views, struct text lease)
{
    for (size_t i = 0; i < views->count; i++) {
        if (text_equal(views->at[i].lease, lease)) {
            return &views->at[i];
        }
    }
    return NULL;
}

static bool same_holders(const struct difference *d, const struct lease_views *want,
                         const struct lease_views *got)
{
    bool same = same_int(d, "holders", (int64_t)want->count, (int64_t)got->count);
    for (size_t i = 0; same && i < want->count; i++) {
        const struct lease_view *found = lease_named(got, want->at[i].lease);
        same = found == NULL ? differ(d, "%.*s is not among the holders",
                                      (int)want->at[i].lease.len, want->at[i].lease.at)
                             : inside(d, same_lease(d, &want->at[i], found), "holders", i);
    }
    return same;
}

/* In this order. */
static bool same_leases(const struct difference *d, const char *name,
                        const struct lease_views *want, const struct lease_views *got)
{
    bool same = same_int(d, name, (int64_t)want->count, (int64_t)got->count);
    for (size_t i = 0; same && i < want->count; i++) {
        same = inside(d, same_lease(d, &want->at[i], &got->at[i]), name, i);
    }
    return same;
}

static bool same_lock(const struct difference *d, const struct lock_view *want,
                      const struct lock_view *got)
{
    return TEXT_(name) && INT(limit) && INT(lock_delay_ms) && INT(version) && INT(fence) &&
           INT(delayed_for_ms) && INT(holder_count) && INT(waiter_count) &&
           same_holders(d, &want->holders, &got->holders) &&
           same_leases(d, "waiters", &want->waiters, &got->waiters);
}

static bool same_config(const struct difference *d, const struct queue_config *want,
                        const struct queue_config *got)
{
    return INT(lease_ms) && INT(max_attempts) && INT(retention_ms) && INT(delay_ms) &&
           INT(dedup_window_ms) && INT(max_depth) && INT(backoff_base_ms) &&
           INT(backoff_factor_milli) && INT(backoff_max_ms) && INT(rate_per_s) && INT(rate_burst) &&
           INT(group_concurrency) && INT(paused) && TEXT_(dead_letter);
}

static bool same_queue(const struct difference *d, const struct queue_view *want,
                       const struct queue_view *got)
{
    return TEXT_(name) && same_config(d, &want->config, &got->config) && INT(version) &&
           INT(created_at_ms) && INT(ready) && INT(delayed) && INT(leased) && INT(dead) &&
           INT(oldest_age_ms);
}

static bool same_sent(const struct difference *d, const struct sent_message *want,
                      const struct sent_message *got)
{
    return INT(status) && INT(message) && INT(retry_after_ms) && INT(deduplicated);
}

static bool same_message(const struct difference *d, const struct message_view *want,
                         const struct message_view *got)
{
    return INT(message) && INT(fence) && INT(attempt) && INT(failures) && INT(state) &&
           INT(priority) && INT(body_bytes) && TEXT_(body) && JSON(attributes) && TEXT_(group) &&
           TEXT_(reason) && TEXT_(consumer) && INT(enqueued_at_ms) && INT(expires_at_ms) &&
           INT(due_at_ms) && INT(lease_expires_ms);
}

/* same_list(SAME, list): the lists `list` of want and got agree, item by item. */
#define SAME_LIST(same_item, list)                                                                 \
    do {                                                                                           \
        bool same = same_int(d, #list, (int64_t)want->list.count, (int64_t)got->list.count);       \
        for (size_t i = 0; same && i < want->list.count; i++) {                                    \
            same = inside(d, same_item(d, &want->list.at[i], &got->list.at[i]), #list, i);         \
        }                                                                                          \
        return same;                                                                               \
    } while (0)

static bool same_outcome(const struct difference *d, const int64_t *want, const int64_t *got)
{
    return same_int(d, "outcome", *want, *got);
}

static bool same_rest(const struct difference *d, const struct result *want,
                      const struct result *got)
{
    switch (want->shape) {
    case SHAPE_SESSION:
        return same_session(d, &want->session, &got->session);
    case SHAPE_SESSION_PAGE:
        SAME_LIST(same_session, sessions.items);
    case SHAPE_LEASE:
        return same_lease(d, &want->lease, &got->lease);
    case SHAPE_LOCK:
        return same_lock(d, &want->lock, &got->lock);
    case SHAPE_LOCK_PAGE:
        SAME_LIST(same_lock, locks.items);
    case SHAPE_LOCK_SET:
        return same_leases(d, "members", &want->lock_set.members, &got->lock_set.members);
    case SHAPE_REFUSAL:
        return same_int(d, "position", want->refusal.position, got->refusal.position) &&
               same_lock(d, &want->refusal.lock, &got->refusal.lock);
    case SHAPE_QUEUE:
        return same_queue(d, &want->queue, &got->queue);
    case SHAPE_QUEUE_PAGE:
        SAME_LIST(same_queue, queues.items);
    case SHAPE_SENT:
        SAME_LIST(same_sent, sent);
    case SHAPE_MESSAGES:
        SAME_LIST(same_message, received);
    case SHAPE_MESSAGE:
        return same_message(d, &want->message, &got->message);
    case SHAPE_MESSAGE_PAGE:
        SAME_LIST(same_message, messages.items);
    case SHAPE_OUTCOMES:
        SAME_LIST(same_outcome, outcomes);
    case SHAPE_TRANSACTION_FAILURE:
        return same_int(d, "index", want->failure.index, got->failure.index);
    case SHAPE_NONE:
    case SHAPE_CYCLE:   /* any cycle that is one: the model looks at it */
    case SHAPE_RESULTS: /* each was compared when its operation was */
    case SHAPE_TOTALS:
    case SHAPE_PARCEL: /* a history has one partition */
    case SHAPE_COUNT:
        break;
    }
    return true;
}

bool expect_result(const struct result *want, const struct result *got, char *ret_wrong,
                   size_t room)
{
    const struct difference difference = {ret_wrong, room}, *d = &difference;
    if (want->status != got->status) {
        return differ(d, "the answer is %s, not %s", status_info(got->status)->code,
                      status_info(want->status)->code);
    }
    return INT(shape) && INT(stamp.now_ms) && INT(stamp.lease_now_ms) && INT(replayed) &&
           INT(version) && INT(count) && INT(retry_after_ms) && INT(reason) && TEXT_(reason_text) &&
           TEXT_(field) && same_rest(d, want, got);
}
