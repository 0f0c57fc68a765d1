/* A request for a queue with shards: which is asked for what, in which order, and what the answers are together. */
#include "db/queues.h"
#include "db/shards.h"
#include "handlers/process.h"
#include "handlers/route.h"
#include "handlers/spread.h"
#include "tests/unit/fixture.h"

#include <criterion/criterion.h>

enum { SHARDS = 4 };

static struct arena arena;
static struct exchange x;
static const bool NEAR[SHARDS] = {false, true, false, true};
static const int64_t DEPTHS[SHARDS] = {5, 2, 9, 3};

static struct text no_header(const void *source, const char *name)
{
    (void)source;
    (void)name;
    return TEXT_ABSENT;
}

static struct spread *ask(const char *path, const char *body, enum routing routing, uint64_t turn)
{
    static const struct process PROCESS = {.secret = {"a secret of the tests", 21}};
    static struct queue_view plan;
    plan = (struct queue_view){.name = TEXT("q"),
                               .config = queue_config_default(),
                               .version = 7,
                               .born = 3,
                               .spread = SHARDS};
    plan.config.routing = routing;
    x = exchange_make(&PROCESS, &arena);
    x.request.method = METHOD_POST;
    x.request.target = text_of(path);
    x.request.body = text_of(body);
    x.request.header = no_header;
    cr_assert_eq(exchange_route(&x), STATUS_OK);
    cr_assert_eq(exchange_prepare(&x), STATUS_OK);
    return spread_begin(&x, &plan, (struct spread_hints){turn, NEAR, DEPTHS});
}

/* The next task's operation, which is wrapped with the plan. */
static const struct command *next(struct spread *spread, int64_t *ret_shard)
{
    struct spread_task task;
    cr_assert_eq(spread_next(spread, &task), SPREAD_ASK);
    *ret_shard = task.shard;
    cr_expect_eq(task.command.kind, COMMAND_SHARD_WRITE);
    cr_expect_eq(task.command.shard_write.version, 7);
    cr_expect_eq(task.command.shard_write.count, SHARDS);
    return &task.command.shard_write.operations.at[0];
}

static bool done(struct spread *spread)
{
    struct spread_task task;
    return spread_next(spread, &task) == SPREAD_DONE;
}

Test(spread, a_receive_asks_near_shards_first_for_what_is_left_and_every_fourth_the_others)
{
    for (uint64_t turn = 0; turn < 8; turn++) {
        struct spread *spread = ask("/v1/queues/q/receive", "{\"max\":3}", ROUTING_HASH, turn);
        struct message_view view = {.message = 1, .body = TEXT("1")};
        int64_t shard;
        cr_expect_eq(next(spread, &shard)->message_receive.max, 3);
        cr_expect_eq(NEAR[shard], turn % 4 != 0);
        struct result one = {.shape = SHAPE_MESSAGES, .received = {&view, 1}};
        spread_take(spread, &one);
        cr_expect_eq(next(spread, &shard)->message_receive.max, 2);
        cr_expect_eq(NEAR[shard], turn % 4 != 0);
        struct message_view two[] = {view, view};
        spread_take(spread, &(struct result){.shape = SHAPE_MESSAGES, .received = {two, 2}});
        cr_expect(done(spread));
        spread_end(spread);
        cr_expect_eq(x.result.received.count, 3);
        cr_expect_eq(x.result.received.at[1].message, shard_message(shard, 1));
        arena_free(&arena);
    }
}

Test(spread, a_receive_goes_on_without_a_shard_that_has_no_leader)
{
    struct spread *spread = ask("/v1/queues/q/receive", "{}", ROUTING_HASH, 1);
    int64_t shard;
    for (int i = 0; i < SHARDS; i++) {
        next(spread, &shard);
        if (i < SHARDS - 1) {
            spread_miss(spread, STATUS_NO_LEADER);
        } else {
            spread_take(spread, &(struct result){.shape = SHAPE_MESSAGES});
        }
    }
    cr_expect(done(spread));
    spread_end(spread);
    cr_expect_eq(x.response.status, 200);
    arena_free(&arena);
}

Test(spread, messages_without_a_key_go_where_routing_says_and_on_when_that_is_full)
{
    static const char BODY[] = "{\"messages\":[{\"body\":1},{\"body\":2}]}";
    int64_t shard;
    next(ask("/v1/queues/q/messages", BODY, ROUTING_LEAST_LOADED, 0), &shard);
    cr_expect_eq(shard, 1);
    struct spread *spread = ask("/v1/queues/q/messages", BODY, ROUTING_ROUND_ROBIN, 6);
    for (int64_t i = 0; i < SHARDS; i++) {
        cr_expect_eq(next(spread, &shard)->message_send.messages.count, 2);
        cr_expect_eq(shard, (6 + i) % SHARDS);
        spread_take(spread, &(struct result){.status = STATUS_QUEUE_FULL});
    }
    cr_expect(done(spread));
    spread_end(spread);
    cr_expect_eq(x.response.status, 429);
    arena_free(&arena);
}

Test(spread, a_unit_that_several_shards_would_share_is_refused_and_parts_go_each_to_its_own)
{
    struct text all =
        TEXT("{\"messages\":[{\"body\":1,\"group\":\"a\"},{\"body\":2,\"group\":\"b\"},"
             "{\"body\":3,\"group\":\"c\"},{\"body\":4,\"group\":\"d\"}]}");
    struct spread *spread = ask("/v1/queues/q/messages", all.at, ROUTING_HASH, 0);
    cr_expect(done(spread));
    spread_end(spread);
    cr_expect_eq(x.response.status, 422);
    const char *parts = arena_format(&arena, "%.*s,\"atomic\":false}", (int)all.len - 1, all.at).at;
    spread = ask("/v1/queues/q/messages", parts, ROUTING_HASH, 0);
    struct spread_task task;
    size_t asked = 0;
    while (spread_next(spread, &task) == SPREAD_ASK) {
        const struct message_send *send = &task.command.shard_write.operations.at[0].message_send;
        for (size_t i = 0; i < send->messages.count; i++) {
            cr_expect_eq(shard_of(send->messages.at[i].group, SHARDS), task.shard);
        }
        asked += send->messages.count;
        spread_miss(spread, STATUS_NO_LEADER);
    }
    cr_expect_eq(asked, 4);
    spread_end(spread);
    cr_expect_eq(x.response.status, 201);
    cr_expect(strstr(x.response.body.at, "no-leader") != NULL, "%s", x.response.body.at);
    arena_free(&arena);
}
