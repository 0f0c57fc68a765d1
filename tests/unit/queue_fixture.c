#include "tests/unit/queue_fixture.h"

#include <criterion/criterion.h>

static int64_t or_default(int64_t given, int64_t otherwise)
{
    return given == ZERO ? 0 : given == 0 ? otherwise : given;
}

struct queue_config config_of(struct queue_config given)
{
    struct queue_config d = queue_config_default();
    return (struct queue_config){
        .lease_ms = or_default(given.lease_ms, d.lease_ms),
        .max_attempts = or_default(given.max_attempts, d.max_attempts),
        .retention_ms = or_default(given.retention_ms, d.retention_ms),
        .delay_ms = or_default(given.delay_ms, d.delay_ms),
        .dedup_window_ms = or_default(given.dedup_window_ms, d.dedup_window_ms),
        .max_depth = or_default(given.max_depth, d.max_depth),
        .backoff_base_ms = or_default(given.backoff_base_ms, d.backoff_base_ms),
        .backoff_factor_milli = or_default(given.backoff_factor_milli, d.backoff_factor_milli),
        .backoff_max_ms = or_default(given.backoff_max_ms, d.backoff_max_ms),
        .rate_per_s = or_default(given.rate_per_s, d.rate_per_s),
        .rate_burst = or_default(given.rate_burst, d.rate_burst),
        .group_concurrency = or_default(given.group_concurrency, d.group_concurrency),
        .paused = given.paused,
        .shards = or_default(given.shards, d.shards),
        .routing = given.routing,
        .dead_letter = text_given(given.dead_letter) ? given.dead_letter : TEXT("")};
}

struct result put_queue_if(struct fixture *f, const char *name, struct queue_config given,
                           struct condition condition)
{
    return fixture_do(f, (struct command){.kind = COMMAND_QUEUE_PUT,
                                          .queue_put = {.name = text_of(name),
                                                        .config = config_of(given),
                                                        .condition = condition}});
}

struct result put_queue(struct fixture *f, const char *name, struct queue_config given)
{
    return put_queue_if(f, name, given, UNCONDITIONAL);
}

struct queue_config no_change(void)
{
    return (struct queue_config){ABSENT, ABSENT,      ABSENT, ABSENT, ABSENT, ABSENT,
                                 ABSENT, ABSENT,      ABSENT, ABSENT, ABSENT, ABSENT,
                                 ABSENT, TEXT_ABSENT, ABSENT, ABSENT};
}

struct result patch_queue(struct fixture *f, const char *name, struct queue_config given)
{
    return fixture_do(
        f, (struct command){
               .kind = COMMAND_QUEUE_PATCH,
               .queue_put = {.name = text_of(name), .config = given, .condition = UNCONDITIONAL}});
}

struct result get_queue(struct fixture *f, const char *name)
{
    return fixture_read(
        f, (struct command){.kind = COMMAND_QUEUE_GET, .queue_get = {.name = text_of(name)}});
}

struct result delete_queue(struct fixture *f, const char *name, bool if_empty)
{
    return fixture_do(f, (struct command){.kind = COMMAND_QUEUE_DELETE,
                                          .queue_delete = {.name = text_of(name),
                                                           .if_empty = if_empty,
                                                           .condition = UNCONDITIONAL}});
}

struct message_new message_of(struct send send)
{
    return (struct message_new){.body = text_of(send.body == NULL ? "1" : send.body),
                                .attributes = text_of(send.attributes),
                                .group = text_of(send.group),
                                .dedup_id = text_of(send.dedup_id),
                                .priority = send.priority == 0      ? 4
                                            : send.priority == ZERO ? 0
                                                                    : send.priority,
                                .delay_ms = send.delay_ms == 0      ? ABSENT
                                            : send.delay_ms == ZERO ? 0
                                                                    : send.delay_ms,
                                .deliver_at_ms =
                                    send.deliver_at_ms == 0 ? ABSENT : send.deliver_at_ms,
                                .ttl_ms = send.ttl_ms == 0 ? ABSENT : send.ttl_ms};
}

struct result send_many(struct fixture *f, const char *queue, const struct message_new *messages,
                        size_t count, bool atomic)
{
    return fixture_do(f, (struct command){.kind = COMMAND_MESSAGE_SEND,
                                          .message_send = {.queue = text_of(queue),
                                                           .messages = {messages, count},
                                                           .atomic = atomic}});
}

struct result send_count(struct fixture *f, const char *queue, size_t count, bool atomic)
{
    struct message_new messages[1000];
    cr_assert_leq(count, 1000);
    for (size_t i = 0; i < count; i++) {
        messages[i] = message_of((struct send){0});
    }
    return send_many(f, queue, messages, count, atomic);
}

int64_t send_one(struct fixture *f, const char *queue, struct send send)
{
    struct message_new message = message_of(send);
    struct result result = send_many(f, queue, &message, 1, true);
    cr_assert_eq(result.status, STATUS_CREATED, "the send was refused: %s",
                 status_info(result.status)->name);
    return result.sent.at[0].message;
}

struct result receive(struct fixture *f, const char *queue, int64_t max)
{
    return fixture_do(f, (struct command){.kind = COMMAND_MESSAGE_RECEIVE,
                                          .message_receive = {.queue = text_of(queue),
                                                              .consumer = TEXT("worker"),
                                                              .max = max,
                                                              .lease_ms = ABSENT}});
}

struct message_view receive_one(struct fixture *f, const char *queue)
{
    struct result result = receive(f, queue, 1);
    expect_status(result, STATUS_OK);
    return result.received.count == 1 ? result.received.at[0] : (struct message_view){0};
}

struct message_view receive_only(struct fixture *f, const char *queue)
{
    struct result result = receive(f, queue, 100);
    cr_assert_eq(result.received.count, 1, "%zu messages were ready", result.received.count);
    return result.received.at[0];
}

struct settlement settlement_of(enum settle_action action, struct message_view message)
{
    return (struct settlement){.action = action,
                               .message = message.message,
                               .fence = message.fence,
                               .delay_ms = ABSENT,
                               .lease_ms = LEASE_MS};
}

struct result settle_many(struct fixture *f, const char *queue, const struct settlement *items,
                          size_t count, bool atomic)
{
    return fixture_do(f, (struct command){.kind = COMMAND_MESSAGE_SETTLE,
                                          .message_settle = {.queue = text_of(queue),
                                                             .items = {items, count},
                                                             .atomic = atomic}});
}

int64_t settle(struct fixture *f, const char *queue, struct settlement item)
{
    struct result result = settle_many(f, queue, &item, 1, false);
    expect_status(result, STATUS_OK);
    cr_assert_eq(result.outcomes.count, 1);
    return result.outcomes.at[0];
}

int64_t ack(struct fixture *f, const char *queue, struct message_view message)
{
    return settle(f, queue, settlement_of(SETTLE_ACK, message));
}

int64_t nack(struct fixture *f, const char *queue, struct message_view message)
{
    return settle(f, queue, settlement_of(SETTLE_NACK, message));
}

int64_t nack_with(struct fixture *f, const char *queue, struct message_view message,
                  int64_t delay_ms, const char *reason)
{
    struct settlement item = settlement_of(SETTLE_NACK, message);
    item.delay_ms = delay_ms;
    item.reason = text_of(reason);
    return settle(f, queue, item);
}

int64_t extend(struct fixture *f, const char *queue, struct message_view message, int64_t lease_ms)
{
    struct settlement item = settlement_of(SETTLE_EXTEND, message);
    item.lease_ms = lease_ms;
    return settle(f, queue, item);
}

int64_t reject(struct fixture *f, const char *queue, struct message_view message,
               const char *reason)
{
    struct settlement item = settlement_of(SETTLE_REJECT, message);
    item.reason = text_of(reason);
    return settle(f, queue, item);
}

struct result delete_message(struct fixture *f, const char *queue, int64_t message, int64_t fence)
{
    return fixture_do(
        f, (struct command){
               .kind = COMMAND_MESSAGE_DELETE,
               .message_delete = {.queue = text_of(queue), .message = message, .fence = fence}});
}

struct result get_message(struct fixture *f, const char *queue, int64_t message)
{
    return fixture_read(
        f, (struct command){.kind = COMMAND_MESSAGE_GET,
                            .message_get = {.queue = text_of(queue), .message = message}});
}

struct result list_messages(struct fixture *f, const char *queue, enum message_filter state,
                            const char *group, const char *after, int64_t limit)
{
    return fixture_read(
        f, (struct command){.kind = COMMAND_MESSAGE_LIST,
                            .message_list = {.queue = text_of(queue),
                                             .group = text_of(group),
                                             .state = state,
                                             .page = {.after = text_of(after), .limit = limit}}});
}

struct result purge(struct fixture *f, const char *queue, enum message_filter state, int64_t max)
{
    return fixture_do(
        f, (struct command){.kind = COMMAND_QUEUE_PURGE,
                            .queue_purge = {.queue = text_of(queue), .state = state, .max = max}});
}

struct result redrive(struct fixture *f, const char *queue, int64_t max)
{
    return fixture_do(f, (struct command){.kind = COMMAND_QUEUE_REDRIVE,
                                          .queue_redrive = {.queue = text_of(queue), .max = max}});
}

int64_t make_dead(struct fixture *f, const char *queue, struct send send)
{
    int64_t id = send_one(f, queue, send);
    struct message_view message = receive_one(f, queue);
    cr_assert_eq(message.message, id);
    cr_assert_eq(reject(f, queue, message, NULL), OUTCOME_REJECTED);
    return id;
}

void expect_depths_at(struct fixture *f, const char *queue, struct depths want, int line)
{
    struct result result = get_queue(f, queue);
    expect_status(result, STATUS_OK);
    const struct queue_view *q = &result.queue;
    cr_expect(q->ready == want.ready && q->delayed == want.delayed && q->leased == want.leased &&
                  q->dead == want.dead,
              "line %d: ready %lld, delayed %lld, leased %lld, dead %lld", line,
              (long long)q->ready, (long long)q->delayed, (long long)q->leased, (long long)q->dead);
}
